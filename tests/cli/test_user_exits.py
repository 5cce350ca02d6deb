"""sys.exit() and other exceptions in the user's code: a message and an exit code that is not 0, whatever the user's was."""

import optuna
import pytest

from tests.helpers.command_line import SMALL, write

pytestmark = pytest.mark.usefixtures("quick_pictures")

EXITS = {
    "at import": "import sys\nsys.exit(0)",
    "at import without a code": "raise SystemExit",
    "in the factory": "import sys\ndef good(): sys.exit(0)",
    "in the factory, as a StopIteration": "def good(): raise StopIteration",
    "as the module is asked for the name": "def __getattr__(name): raise SystemExit(0)\ndel good",
    "in the model's factory": "def model(): raise SystemExit(0)\ngood = replace(good, model=model)",
    "in the model": """
        class Model(nn.Linear):
            def forward(self, x): raise SystemExit(0)
        good = replace(good, model=lambda: Model(1, 1))
    """,
    "in train_data": "def gone(): raise SystemExit(0)\ngood = replace(good, train_data=gone)",
}


@pytest.mark.parametrize("command", [("compare", *SMALL), ("range-test",)], ids=["compare", "range-test"])
@pytest.mark.parametrize("code", EXITS.values(), ids=EXITS.keys())
def test_an_exit_is_an_error(code, command, cli, folder):
    name = write(folder, code)
    trained = command[0] == "range-test" and "replace" in code
    result = cli(command[0], f"{name}:good", *command[1:], code=1 if trained else 2)
    assert not result.stdout
    message, *places = result.stderr.splitlines()
    assert message.startswith("error: ")
    assert "it raised SystemExit" in message or "it raised StopIteration" in message
    assert f"({name}.py, line " in message
    assert all(f"{name}.py" in place for place in places if place.startswith("  File"))
    assert {path.name for path in folder.iterdir()} <= {f"{name}.py", "__pycache__"}


def test_an_exit_in_metrics_is_found_before_the_training(cli, folder):
    name = write(folder, "def exits(model, batch): raise SystemExit(0)\ngood = replace(good, metrics=exits)")
    result = cli("compare", f"{name}:good", *SMALL, code=2)
    assert "it raised SystemExit: 0" in result.stderr
    assert not (folder / "lr_search.db").exists()


LATER = """
class Model(nn.Linear):
    steps = 0
    def forward(self, x):
        self.steps += self.training
        if self.steps > 3:
            raise SystemExit(0)
        return super().forward(x)
good = replace(good, model=lambda: Model(1, 1))
"""


def test_an_exit_in_a_trial_is_its_failure(cli, folder):
    name = write(folder, LATER)
    result = cli("compare", f"{name}:good", *SMALL, code=1)
    assert "error: A comparison needs a trial that does not fail, but every one did." in result.stderr
    study = f"{name}:good/grid/constant/SGD/seed 0"
    trials = optuna.load_study(study_name=study, storage=f"sqlite:///{folder / 'lr_search.db'}").trials
    assert [trial.state.name for trial in trials] == ["FAIL", "FAIL"]
    assert all("SystemExit: 0" in trial.user_attrs["record"]["error"] for trial in trials)


DEEP = """
def inner(batch):
    raise ValueError("no such column")
def prepared(batch):
    return inner(batch)
def loss(model, batch):
    return prepared(batch)
good = replace(good, loss=loss)
"""


@pytest.mark.parametrize(("command", "code"), [(("compare", *SMALL), 2), (("range-test",), 1)])
def test_the_last_places_in_the_users_code_are_shown_and_none_of_ours(command, code, cli, folder):
    name = write(folder, DEEP)
    result = cli(command[0], f"{name}:good", *command[1:], code=code)
    message, *places = result.stderr.splitlines()
    assert "it raised ValueError: no such column" in message
    assert [line.rpartition(" in ")[2] for line in places if line.startswith("  File")] == ["loss", "prepared", "inner"]
    assert "    raise ValueError(" in places[-1]


@pytest.mark.parametrize("code", ["0", "None", "'bye'"])
def test_an_exit_from_anywhere_else_is_no_success(code, cli, folder, monkeypatch):
    name = write(folder)
    monkeypatch.setattr("lr_search.comparison.compare.compare", lambda *_, **__: exec(f"raise SystemExit({code})"))
    result = cli("compare", f"{name}:good", *SMALL, code=1)
    assert "error: The command must come to its end, but it was ended by SystemExit" in result.stderr


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("class Mine(BaseException): pass\nraise Mine('own')", "it raised Mine: own ("),
        ("import bdb; raise bdb.BdbQuit", "it raised BdbQuit: a breakpoint() was quit, or found no terminal to ask at"),
        ("def good(): import bdb; raise bdb.BdbQuit", "it raised BdbQuit: a breakpoint() was quit"),
        ("raise GeneratorExit", "it raised GeneratorExit ("),
        ("input()", "it raised "),
        (
            "def __getattr__(name): raise ValueError(name)\ndel good",
            ":good must be there to be trained, but it raised ValueError: good",
        ),
    ],
)
@pytest.mark.parametrize("command", [("compare", *SMALL), ("range-test",)], ids=["compare", "range-test"])
def test_what_else_ends_a_program_is_the_users_mistake(code, message, command, cli, folder):
    name = write(folder, f"{code}\npass")
    result = cli(command[0], f"{name}:good", *command[1:], code=2)
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert f"({name}.py, line " in result.stderr
