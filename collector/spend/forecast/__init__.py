"""Where a month will end: daily spend comes in, a projection with its doubt leaves. Pure.

`series` makes whole days of hours (and fills hours that are missing), `plans` takes known changes out of the
past and puts them into the future, `model` is the regression, `doubt` says how far off it has been, and
`month` puts them together. Spend is float in here: a projection is an estimate, not an amount of the books.
scikit-learn and NumPy take a second to import, so only `model` does, and only when a forecast is made.
"""

from collector.spend.forecast.month import Month, Projection, project, replay
from collector.spend.forecast.plans import Change

__all__ = ["Change", "Month", "Projection", "project", "replay"]
