"""How the settings of lesson 09 were chosen: ``python ci/tune_contest.py --dataset digits [METHOD ...]``.

Every method gets a grid of a few settings, judged by the average gap to the retrained model: mean over the
requests that it applies to, over seeds and samples to forget that the lesson does not use. No test sample is
read: of a part of the training set one half decides when methods stop, the other half judges. Prints every
setting, the best one marked. The winners stand in the entries as defaults, and for other data than the digits
in `unlearn_lib/lessons/sizes.py` as `tuned`.
"""

from __future__ import annotations
