"""The lessons, one shelf each; `every` finds them."""
