"""Films of agents before, during and after adaptation, and stills of the bodies."""

from tesp.report.films.filming import Film, film, stages_of
from tesp.report.films.playing import Stage

__all__ = ["Film", "Stage", "film", "stages_of"]
