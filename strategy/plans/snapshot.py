"""Plans of a day on disk, as a service reads them: memory-mapped, a row a client with all that its plan went by."""

from __future__ import annotations

import datetime as dt
import json
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from sheaf.catalog import Catalog
from sheaf.features import C
from sheaf.features.atomic_replace import put, staging
from sheaf.features.checksums import SEAL, is_sealed, seal
from sheaf.features.client_positions import SEALED
from sheaf.strategy.plans.planner import LAST, Planner
from sheaf.strategy.policy.columns import CATEGORY, NUMBER, OF_PAIR, of_catalog
from sheaf.strategy.policy.conditions import Rule
from sheaf.strategy.policy.schema import Strategy
from sheaf.strategy.policy.validation import contradictions

FORMAT = b"2"
PLAN = "plan"
_FORMAT, _AS_OF, _POLICY = b"format", b"as_of", b"policy"
_SCHEMA = pa.schema([(C.CLIENT, pa.string()), (PLAN, pa.string())])


class PlansError(ValueError):
    """Plans that cannot be served; the message names the file and what to do."""


@dataclass(frozen=True)
class Plans:
    """Plans by one policy as of a day, ids ascending: `plan` is JSON of the outcomes by column and of the columns that
    the rules looked at, with the scale, tier and next visit of the plan before
    (`sheaf.strategy.plans.planner.LAST`)."""

    policy: Strategy
    as_of: dt.date
    rows: pa.Table

    @classmethod
    def none(cls, policy: Strategy) -> Plans:
        """Of nobody."""
        return cls(policy, dt.date.min, _SCHEMA.empty_table())

    @classmethod
    def write(cls, path: Path, planner: Planner, profiles: Path | Iterable[pa.Table]) -> int:
        """Writes the plans of profiles as an Arrow file, replaces one that is there at once, and returns how many there
        are."""
        policy, clients = planner.policy, 0
        asked = (policy.asks_of_clients | policy.asks_of_pairs) - policy.of_plans - OF_PAIR.keys()
        keep = [*sorted(asked), *LAST.values()]
        left_out = ", ".join(sorted(name for name in policy.of_plans if name.endswith("_rule")))  # follow from the rest
        about = {_FORMAT: FORMAT, _AS_OF: str(planner.as_of), _POLICY: policy.model_dump_json(), SEALED: SEAL}
        cursor = planner.connection.cursor()
        with staging(path.parent) as new:
            made = new / path.name
            with pa.OSFile(str(made), "wb") as file, pa.ipc.new_file(file, _SCHEMA.with_metadata(about)) as writer:
                for part in planner.plans(profiles, keep):
                    cursor.register("planned", part)
                    told = f"select {C.CLIENT}, to_json(p)::varchar as {PLAN} from "
                    told += f"(select * exclude ({left_out}) from planned) p order by {C.CLIENT}"
                    writer.write_table(cursor.sql(told).to_arrow_table().cast(_SCHEMA))
                    cursor.unregister("planned")
                    clients += len(part)
            seal(made)
            put(made, path)
        return clients

    @classmethod
    def read(cls, path: Path, catalog: Catalog) -> Plans:
        """Raises PlansError for what is not there or not whole, and for plans by a policy that the catalog contradicts:
        an authority or a bundle that it has not, an attribute that it protects."""
        try:
            if not is_sealed(path):  # first: what is damaged may end a process that opens it
                raise PlansError(f"{path} holds no plans as they were laid out: it was damaged or altered, or is of an "
                                 "earlier version; make them anew: sheaf plan --serve")  # fmt: skip
            rows = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        except (OSError, pa.ArrowInvalid) as error:
            raise PlansError(f"{path} holds no plans ({error}); make them anew: sheaf plan --serve") from error
        about = rows.schema.metadata or {}
        if about.get(_FORMAT) != FORMAT or rows.schema.names != _SCHEMA.names:
            raise PlansError(f"{path} holds no plans that this version reads; make them anew: sheaf plan --serve")
        try:
            policy = Strategy.model_validate_json(about[_POLICY])
        except ValidationError as error:
            why = error.errors()[0]["msg"]
            raise PlansError(f"{path} is by no policy that this version reads ({why}); make it anew") from error
        found = cls(policy, dt.date.fromisoformat(about[_AS_OF].decode()), rows)
        for where, what in contradictions(policy, catalog, of_catalog(catalog) | found._columns, {}):
            at = ".".join(map(str, where))
            raise PlansError(f"{path} is by policy {policy.name} {policy.version}, which does not fit the catalog: "
                             f"{at}: {what}; make plans anew: sheaf plan --serve")  # fmt: skip
        return found

    @cached_property
    def _columns(self) -> dict[str, Any]:
        """What the policy's own columns are, of profiles that the catalog says nothing of: they were checked when the
        plans were made."""
        policy = self.policy
        rules: list[Rule[Any]] = [rule for stage in (*policy.facts, *policy.following) for rule in stage.rules]
        rules += [*policy.routes.rules, *(one.rule for one in policy.tiers.scales)]
        rules += [one.rule for one in policy.routes.sub_authorities]
        texts = {column for rule in rules for column, condition in rule.when.items() if condition.texts}
        asked = self.policy.asks_of_clients | self.policy.asks_of_pairs
        return {name: CATEGORY if name in texts else NUMBER for name in asked}

    def of(self, client_id: str | None) -> str | None:
        """The client's plan as JSON; None for who has none."""
        if client_id is None:
            return None
        ids = self.rows[C.CLIENT]
        at = bisect_left(range(len(ids)), client_id, key=lambda place: str(ids[place]))
        return str(self.rows[PLAN][at]) if at < len(ids) and str(ids[at]) == client_id else None


def read_plan(text: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """A plan of `Plans.of`: the values, and the scale, tier and next visit of the plan before, if there was one. Days
    are days."""
    values = json.loads(text)
    last = {name: values.pop(held) for name, held in LAST.items()}
    for of in (values, last):
        of["next_visit"] = None if of["next_visit"] is None else dt.date.fromisoformat(of["next_visit"])
    values["as_of"] = dt.date.fromisoformat(values["as_of"])
    return values, None if last["scale"] is None else last
