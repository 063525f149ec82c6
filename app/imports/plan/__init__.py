"""Stage 3, plan: what each row does to which object, checked against the database and all other rows.

In: `ParsedTable`. Out: the same rows with their action, by `planner.Planner`; then `PlannedRow` in parts, by
`store.store_plan`. What is stored is shown to the user, and only that is applied.
"""
