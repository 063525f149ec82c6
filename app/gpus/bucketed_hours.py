"""GPU-hours in the buckets of a period, added up from the starts and the ends of shorter periods.

A period that starts in a bucket contributes the rest of that bucket and all later ones; its end subtracts the same in
its own bucket.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class ReportPeriod:
    """The period of a report, divided into buckets of equal width; the last bucket may be shorter."""

    start: datetime
    end: datetime
    width: timedelta

    @property
    def bucket_count(self) -> int:
        return -(-(self.end - self.start) // self.width)

    def bounds(self, index: int) -> tuple[datetime, datetime]:
        begin = self.start + index * self.width
        return begin, min(begin + self.width, self.end)


class BucketedHours:
    """The GPU-hours per bucket, added up from the starts and ends of periods."""

    def __init__(self, period: ReportPeriod) -> None:
        self._period = period
        # Seconds that starts and ends contribute to their own bucket.
        self._partial = [0.0] * period.bucket_count
        # GPUs that start minus those that end: before the first bucket, then in each bucket.
        self._delta = [0] * (period.bucket_count + 1)

    def add(self, index: int, count: int, seconds: float) -> None:
        """Add `count` starts in a bucket, `seconds` after the start of the period in total; negative ones are ends.

        The index -1 stands for the time before the period.
        """
        self._delta[index + 1] += count
        if index >= 0:
            end = (self._period.bounds(index)[1] - self._period.start).total_seconds()
            self._partial[index] += count * end - seconds

    def __bool__(self) -> bool:
        return any(self._delta) or any(self._partial)

    def merge(self, other: "BucketedHours") -> None:
        self._partial = [a + b for a, b in zip(self._partial, other._partial, strict=True)]
        self._delta = [a + b for a, b in zip(self._delta, other._delta, strict=True)]

    def per_bucket(self) -> list[float]:
        running_at_start = accumulate(self._delta[:-1])
        bounds = map(self._period.bounds, range(self._period.bucket_count))
        return [
            (running * (end - begin).total_seconds() + partial) / 3600
            for running, partial, (begin, end) in zip(running_at_start, self._partial, bounds, strict=True)
        ]
