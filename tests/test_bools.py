"""Every public parameter that is True or False takes nothing else: the whole public surface is walked by its signatures."""

import importlib
import inspect
import pkgutil
import re
from dataclasses import dataclass

import numpy as np
import pytest

import lr_search
import lr_search_optuna
import lr_search_ray
from lr_search import plugins
from lr_search.cli import arguments
from lr_search.errors import InvalidInputError, require_bool, require_bool_options
from lr_search.executors.executor_names import executor_by_name
from lr_search.ramp.settings import RampSettings
from lr_search.schedules import by_name

# what is not checked, and why
NO_SWITCHES = {
    "require": "any condition, by its truth",
    "torch_call": "asked of a schedule by this package alone",
    "on_trial_complete": "called by Ray Tune alone",
}
GIVEN = {"lr": 0.1, "num_steps": 300}  # what is laid out before a switch is looked at


@dataclass
class Switch:
    function: object
    name: str
    optional: bool

    def call(self, value):
        """With that value, and a thing of no use for whatever else must be given."""
        parameters = inspect.signature(self.function).parameters.values()
        needed = {
            each.name: GIVEN.get(each.name, object())
            for each in parameters
            if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        }
        return self.function(**{**needed, self.name: value})


def modules():
    """Every package, and the modules that are public by a name of their own."""
    yield from (lr_search.errors, lr_search.suggest)
    for root in (lr_search, lr_search_optuna, lr_search_ray):
        yield root
        for info in pkgutil.walk_packages(root.__path__, f"{root.__name__}."):
            if info.ispkg and not info.name.endswith(".hub"):
                yield importlib.import_module(info.name)


def public_objects():
    for module in modules():
        own = (name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__)
        for name in getattr(module, "__all__", own):
            yield f"{module.__name__}.{name}", getattr(module, name)
    for group in (plugins.STRATEGIES, plugins.SCHEDULES, plugins.EXECUTORS):
        for name, point in plugins.registered(group).items():
            if point.value.startswith("lr_search"):
                yield point.value, plugins.load_plugin(group, name)


def functions():
    """By name: what can be called, classes and their methods too, each once."""
    for name, value in public_objects():
        if inspect.isclass(value) and not issubclass(value, BaseException):
            yield name, value
            for attribute in dir(value):
                method = getattr(
                    inspect.getattr_static(value, attribute), "__func__", inspect.getattr_static(value, attribute)
                )
                if (
                    not attribute.startswith("_")
                    and inspect.isfunction(method)
                    and method.__module__.startswith("lr_search")
                ):
                    yield f"{name}.{attribute}", method
        elif inspect.isfunction(value):
            yield name, value


def switches():
    seen = {}
    for path, function in functions():
        if path.rpartition(".")[2] in NO_SWITCHES:
            continue
        for parameter in inspect.signature(function).parameters.values():
            words = set(re.findall(r"\w+", str(parameter.annotation)))
            if isinstance(parameter.default, bool) or "bool" in words:
                switch = Switch(function, parameter.name, bool(words & {"None", "Optional"}))
                seen.setdefault((id(function), parameter.name), (f"{path}({parameter.name})", switch))
    return dict(seen.values())


SWITCHES = switches()
each_switch = pytest.mark.parametrize("switch", SWITCHES.values(), ids=SWITCHES)


def test_the_walk_finds_what_is_known():
    known = ("compare(fresh)", "Workload.range_test(gain_ratio)", "RayExecutor(telemetry)", "objective(search_shape)",
             "Evaluation(end_of_cycle)", "one_cycle(three_phase)", "plot_forest(legend)")  # fmt: skip
    assert [name for name in known if not any(path.endswith(name) for path in SWITCHES)] == []
    assert len(SWITCHES) >= 35
    called = {path.rpartition(".")[2] for path, _ in functions()}
    assert set(NO_SWITCHES) <= called  # none that no function needs any more


@each_switch
def test_anything_but_true_or_false_is_an_error_before_all_else(switch):
    choices = "True, False or None" if switch.optional else "True or False"
    for value in ("no", 0, 1, np.int64(1), [], *([] if switch.optional else [None])):
        with pytest.raises(InvalidInputError) as raised:
            switch.call(value)
        assert str(raised.value) == f"{switch.name} must be {choices}, but got {value!r}."


@each_switch
def test_true_and_false_are_taken_numpys_too(switch):
    for value in (True, False, np.bool_(True), np.bool_(False), *([None] if switch.optional else [])):
        message = ""
        try:
            switch.call(value)
        except Exception as error:  # the other arguments are of no use
            message = str(error)
        assert f"{switch.name} must be" not in message


# ---- the switches of plug-ins ----


def test_a_switch_of_an_executor_is_true_or_false_at_the_command_line():
    with pytest.raises(InvalidInputError, match=r"^verbose must be True or False, but got 'no'"):
        executor_by_name("ray", arguments.options("verbose=no"))
    assert executor_by_name("ray", arguments.options("verbose=false,telemetry=True")).telemetry is True


def plugged_in(width: int = 1, *, loud: bool = False, exact: "bool | None" = None, quick=True, text: "str | bool" = ""):
    raise AssertionError("called")


@pytest.mark.parametrize(
    ("name", "choices"), [("loud", "True or False"), ("exact", "True, False or None"), ("quick", "True or False")]
)
def test_a_switch_of_others_is_known_by_its_signature(name, choices):
    with pytest.raises(InvalidInputError, match=f"^{name} must be {choices}, but got 'no'"):
        require_bool_options(plugged_in, {name: "no"})
    require_bool_options(plugged_in, {name: np.True_, "width": 0, "text": "no"})


def test_a_switch_of_a_plugged_in_schedule_or_executor_is_checked_before_it_is_called(monkeypatch):
    monkeypatch.setattr(plugins, "load_plugin", lambda group, name: plugged_in)
    with pytest.raises(InvalidInputError, match=r"^loud must be True or False, but got 'no'"):
        executor_by_name("mine", arguments.options("loud=no"))
    with pytest.raises(InvalidInputError, match=r"^quick must be True or False, but got 1"):
        by_name("mine", 0.1, 300, quick=1)


# ---- what they were for ----


def test_numpys_false_switches_the_gain_ratio_off():
    assert RampSettings(gain_ratio=np.False_).most_steps() == 100  # as many as the ramp has
    assert RampSettings(gain_ratio=np.False_).gain_ratio is False


def test_several_are_checked_in_turn():
    require_bool(one=True, other=np.False_)
    with pytest.raises(InvalidInputError, match=r"^other must be True or False"):
        require_bool(one=True, other="")
