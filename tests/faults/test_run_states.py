"""Whatever happens in whatever order, at the end there is what a fresh run of the last recipe makes."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from standins.small_run import ROOTS, FakeStep, content, in_child, make_plan, run_and_kill, run_here, write_inputs

from acsrecipe.run.journal import read_journal

MEMORY = Path("/dev/shm")


class Run(RuleBasedStateMachine):
    """Random sequences of run, kill, lost power, edit input, edit output, lose output, change recipe, run again."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.base, self.output = self.root / "base", self.root / "run"
        write_inputs(self.base)
        self.recipe = {"make": "a", "rewrite": "a"}
        self.edits = 0
        self.users: set[bytes] = set()

    def plan(self):
        return make_plan(self.base, **self.recipe)

    @rule(part=st.sampled_from(["make", "rewrite"]), text=st.sampled_from("abc"))
    def change_recipe(self, part: str, text: str) -> None:
        self.recipe[part] = text

    @rule(root=st.sampled_from(ROOTS), text=st.sampled_from("xyz"))
    def edit_input(self, root: str, text: str) -> None:
        (self.base / "data" / f"{root}_raw.fits").write_text(f"raw of {root}, {text}")

    @rule(number=st.integers(1, 90))
    def run_and_be_killed(self, number: int) -> None:
        run_and_kill(self.plan(), self.base, self.output, number)

    @rule(root=st.sampled_from(ROOTS), kind=st.sampled_from(["make", "rewrite", "draw"]))
    def run_with_a_failing_task(self, root: str, kind: str) -> None:
        from acsrecipe.errors import StepError

        def fail(task: object) -> None:
            if task.id == f"{kind}/{root}":  # type: ignore[attr-defined]
                msg = "made to fail"
                raise StepError(msg)

        result = run_here(self.plan(), self.base, self.output, FakeStep(hook=fail))
        assert set(result.failed) <= {f"{kind}/{root}"}

    @rule()
    def run(self) -> None:
        result = run_here(self.plan(), self.base, self.output)
        assert result.succeeded
        again = run_here(self.plan(), self.base, self.output)
        assert again.finished == ()

    @precondition(lambda self: (self.output / "products").is_dir())
    @rule(where=st.sampled_from(["products", "plots"]), which=st.integers(0, 3), lose=st.booleans())
    def touch_an_output(self, where: str, which: int, lose: bool) -> None:
        found = sorted(path for path in (self.output / where).iterdir() if ".kept-" not in path.name)
        if not found:
            return
        path = found[which % len(found)]
        path.unlink()
        if not lose:
            self.edits += 1
            text = f"edited by the user, {self.edits}".encode()
            path.write_bytes(text)
            self.users.add(text)

    @rule()
    def lose_the_memory_of_hashes(self) -> None:
        (self.output / ".hashes.json").unlink(missing_ok=True)

    def teardown(self) -> None:
        try:
            assert in_child(self.check) == 0
        finally:
            shutil.rmtree(self.root)

    def check(self) -> None:
        assert run_here(self.plan(), self.base, self.output).succeeded
        fresh = self.root / "fresh"
        run_here(self.plan(), self.base, fresh)
        ours = {name: data for name, data in content(self.output).items() if ".kept-" not in name}
        assert ours == content(fresh)
        aside = {data for name, data in content(self.output).items() if ".kept-" in name}
        assert aside <= self.users, "only what the user wrote is kept aside"
        assert list((self.output / "work").iterdir()) == []
        numbers = [event["seq"] for event in read_journal(self.output / "provenance.jsonl")]
        assert numbers == list(range(len(numbers)))


TestRun = Run.TestCase
TestRun.settings = settings(max_examples=60, stateful_step_count=12, deadline=None)
