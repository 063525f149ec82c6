"""Problems of imports: as the API shows them, and that of a plan which is out of date."""

from sqlalchemy.exc import IntegrityError

from app.core.db.errors import from_database
from app.core.messages import Term, tr, unpack
from app.imports.apply.conflicts import all_conflicts
from app.imports.plan.summary import Problem, problem_of
from app.resource.bulk.writer import StaleVersion


def render_problem(stored: Problem) -> Problem:
    """A stored problem with its messages, and with the parameters of the first, as a failure has them."""
    problem: Problem = unpack(stored)
    if problem["message"].parameters:
        problem["parameters"] = problem["message"].parameters
    return problem


def problem_of_conflict(import_id: int, error: StaleVersion | IntegrityError) -> Problem:
    """Why a plan could not be applied: the rows whose objects others have changed since."""
    conflicts = all_conflicts(import_id)
    message = tr("Some objects have changed since the plan was made. Nothing was applied: plan the import again.")
    if not conflicts and isinstance(error, IntegrityError):
        # A constraint that no query of the plan can check, such as a rule inside of a JSON column.
        refusal = from_database(error)
        message = tr(
            "{problem} ({fields}) Nothing was applied.",
            problem=refusal.message,
            fields=", ".join(refusal.errors or ()) or Term("a reference", "引用"),
        )
    return problem_of("out_of_date", message, conflicts=conflicts)
