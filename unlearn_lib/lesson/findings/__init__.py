"""What a lesson may say of a run: functions from numbers to the sentence that the numbers bear out.

Nothing here computes or draws. `session.tell` shows the sentences between the cells, where prose would claim
for every class and seed what holds for some.
"""
