"""Live panels: a learner's choices drive the same generator functions as the plain cells of a lesson.

Three layers: computation (generators of steps, pure functions), pure figure functions (`charts`), and these
thin panels. `UnlearnPanel` trains, in a thread, with progress and Stop; `Explorer` answers at once from what
is already computed; `compare.ComparePanel` sets two models side by side.

Every panel shows its first state at once, and carries a static form of it for pages without a front end.
"""

from unlearn_lib.classroom.charts import View
from unlearn_lib.classroom.panels.explorer import Explorer
from unlearn_lib.classroom.panels.panel import Panel
from unlearn_lib.classroom.panels.progress import Progress
from unlearn_lib.classroom.panels.unlearn import UnlearnPanel

__all__ = ["Explorer", "Panel", "Progress", "UnlearnPanel", "View"]
