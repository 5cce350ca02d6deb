"""suggest_schedule: a name, and the shape of that schedule alone."""

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial

import lr_search as lrs
from lr_search import plugins
from lr_search.errors import InvalidInputError, UnknownNameError
from lr_search.schedules.layout import ranges_of
from lr_search_optuna import suggest_schedule

NUM_STEPS = 1000
NAMES = ["constant", "triangular2", "sgdr", "one_cycle"]
STEPS = range(0, NUM_STEPS, 7)

optuna.logging.set_verbosity(optuna.logging.WARNING)


def random_study():
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))


@pytest.fixture(scope="module")
def asked():
    """40 trials of one study: trial, schedule."""
    study = random_study()
    trials = [study.ask() for _ in range(40)]
    return [(trial, suggest_schedule(trial, NAMES, NUM_STEPS, lr=0.1, steps_per_epoch=20)) for trial in trials]


def test_every_name_comes_up_and_only_the_chosen_ones_shape_is_suggested(asked):
    seen = set()
    for trial, _ in asked:
        chosen = trial.params["schedule"]
        seen.add(chosen)
        assert {name.partition(".")[0] for name in trial.params} - {"schedule"} <= {chosen}
        assert (chosen == "constant") == (len(trial.params) == 1)
    assert seen == set(NAMES)
    assert asked[0][0].distributions["schedule"] == CategoricalDistribution(NAMES)


def test_the_schedule_is_the_one_of_that_name_and_shape(asked):
    for trial, schedule in asked:
        chosen = trial.params["schedule"]
        shape = {name.partition(".")[2]: value for name, value in trial.params.items() if name != "schedule"}
        expected = lrs.schedules.by_name(chosen, 0.1, NUM_STEPS, 20, **shape)
        assert schedule(list(STEPS)).tolist() == expected(list(STEPS)).tolist()
        assert schedule.cycle_ends(NUM_STEPS) == expected.cycle_ends(NUM_STEPS)


def test_the_number_of_cycles_is_the_one_suggested(asked):
    found = [(t.params["triangular2.cycles"], s) for t, s in asked if t.params["schedule"] == "triangular2"]
    assert len({cycles for cycles, _ in found}) > 1
    for cycles, schedule in found:
        ends = schedule.cycle_ends(NUM_STEPS)
        assert (len(ends), ends[-1]) == (cycles, NUM_STEPS)


@pytest.mark.parametrize("name", sorted(plugins.registered(plugins.SCHEDULES)))
def test_the_ranges_are_those_of_the_list(name):
    trial = random_study().ask()
    suggest_schedule(trial, name, NUM_STEPS, lr=0.1, steps_per_epoch=20)
    wanted = {
        f"{name}.{option}": (IntDistribution if each.whole else FloatDistribution)(each.low, each.high, log=each.log)
        for option, each in ranges_of(plugins.load_plugin(plugins.SCHEDULES, name)).items()
    }
    assert trial.distributions == {"schedule": CategoricalDistribution([name]), **wanted}


def test_the_rules_choose_the_shape_where_it_is_not_searched():
    trial = random_study().ask()
    schedule = suggest_schedule(trial, ["sgdr"], NUM_STEPS, lr=0.1, steps_per_epoch=20, search_shape=False)
    assert trial.params == {"schedule": "sgdr"}
    expected = lrs.schedules.by_name("sgdr", 0.1, NUM_STEPS, 20)
    assert schedule(list(STEPS)).tolist() == expected(list(STEPS)).tolist()


def test_a_short_training_has_fewer_cycles_to_choose_from():
    trial = random_study().ask()
    suggest_schedule(trial, "triangular", 10, lr=0.1)
    assert trial.distributions["triangular.cycles"].high == 5  # two steps a cycle


def test_the_parameter_may_have_another_name():
    trial = FixedTrial({"policy": "constant"})
    assert suggest_schedule(trial, NAMES, NUM_STEPS, lr=0.25, name="policy")(5) == 0.25


def test_an_enqueued_schedule_wins():
    study = random_study()
    study.enqueue_trial({"schedule": "one_cycle", "one_cycle.pct_start": 0.4})
    trial = study.ask()
    schedule = suggest_schedule(trial, NAMES, NUM_STEPS, lr=0.1)
    assert schedule(400) == pytest.approx(0.1, rel=1e-4)  # its peak, where the rise of 40% ends


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["constant", "tringular2"], UnknownNameError, "Did you mean 'triangular2'"),
        ("cosin", UnknownNameError, "Did you mean 'cosine'"),
        ([], InvalidInputError, "names must hold at least one schedule"),
        (["sgdr", "sgdr"], InvalidInputError, "names must differ"),
    ],
)
def test_bad_names_are_told_before_anything_is_suggested(names, error, message):
    trial = random_study().ask()
    with pytest.raises(error, match=message):
        suggest_schedule(trial, names, NUM_STEPS, lr=0.1)
    assert trial.params == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_steps": 2}, "3"),
        ({"lr": 0.0}, "lr must be positive and finite"),
        ({"lr": float("nan")}, "lr must be a number, but got nan"),
        ({"num_steps": 0}, "num_steps must be at least 1"),
        ({"steps_per_epoch": -1.0}, "steps_per_epoch must be positive, or None"),
    ],
)
@pytest.mark.parametrize("search_shape", [True, False])
def test_a_bad_training_is_told_in_the_first_trial_whichever_schedule_it_gets(changes, message, search_shape):
    trial = FixedTrial({"schedule": "constant"})
    settings = {"num_steps": NUM_STEPS, "lr": 0.1, "search_shape": search_shape, **changes}
    with pytest.raises(InvalidInputError, match=message):
        suggest_schedule(trial, ["constant", "sgdr"], **settings)


def test_other_choices_than_earlier_trials_had_are_refused():
    study = random_study()
    suggest_schedule(study.ask(), ["constant", "sgdr"], NUM_STEPS, lr=0.1)
    with pytest.raises(InvalidInputError, match="'schedule' must have the same choices in every trial"):
        suggest_schedule(study.ask(), ["constant"], NUM_STEPS, lr=0.1)
