"""Stage 4, apply: from the stored plan to objects and audit records, in one transaction.

In: `PlanPart` with `PlannedRow`. Out: rows of the resources, by `apply.apply_plan`; `conflicts` says why a plan cannot
be applied any more.
"""
