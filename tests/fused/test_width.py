"""How many trainings are fused: the fastest width, by timings that are given, and what fits into a memory that is given."""

import sys

import pytest
import torch

from lr_search.errors import WorkloadError
from lr_search.fused import width as widths
from lr_search.fused.support import Support, support_of
from lr_search.fused.width import fastest_width, fitting_width, free_bytes, out_of_memory, release_memory
from tests.helpers.fused_cases import workload

CPU = torch.device("cpu")


@pytest.fixture
def timed(monkeypatch):
    """The fastest width, by seconds a step that are given; with the widths that were tried."""

    def run(seconds, most=64, alone=1.0):
        tried = []

        def fused(work, seeds, support):
            tried.append(len(seeds))
            return seconds(len(seeds))

        monkeypatch.setattr(widths, "_seconds_alone", lambda work, seed: alone)
        monkeypatch.setattr(widths, "_seconds_fused", fused)
        return fastest_width(workload(), [0] * most, Support()), tried

    return run


@pytest.mark.parametrize(("most", "expected"), [(1, 1), (2, 2), (3, 3), (16, 16), (20, 20), (64, 64)])
def test_the_widest_where_it_costs_no_more(timed, most, expected):
    found, tried = timed(lambda width: 1.0, most)
    assert found == expected
    assert tried == [width for width in (2, 4, 8, 16, 32, 64) if width <= most]


def test_one_where_fusing_does_not_pay(timed):
    assert timed(lambda width: width * 1.2) == (1, [2, 4, 8])  # a few are tried in any case
    assert timed(lambda width: width * 1.0)[0] == 1
    assert timed(lambda width: width / 1.04)[0] == 1  # it must be 5% faster
    assert timed(lambda width: width / 1.07)[0] == 2


def test_no_more_time_goes_into_it_than_a_share_of_what_is_to_be_trained(timed, monkeypatch):
    clock = iter(range(1000))  # each look at it a second later
    monkeypatch.setattr(widths.time, "perf_counter", lambda: float(next(clock)))
    assert timed(lambda width: 0.0001, 64, alone=0.001) == (2, [2])


def test_the_peak(timed):
    rates = {2: 1.5, 4: 3.0, 8: 4.0, 16: 3.5, 32: 3.0, 64: 100.0}  # model-steps a second, of one by one: 1
    assert timed(lambda width: width / rates[width]) == (8, [2, 4, 8, 16, 32])


def test_one_that_is_worse_does_not_end_the_trial(timed):
    rates = {2: 0.9, 4: 1.5, 8: 1.4, 16: 2.0, 32: 1.9, 64: 1.8}
    assert timed(lambda width: width / rates[width]) == (16, [2, 4, 8, 16, 32, 64])


def test_a_width_that_is_hardly_faster_is_not_taken(timed):
    rates = {2: 2.0, 4: 2.05, 8: 2.08, 16: 2.2, 32: 2.2, 64: 2.2}  # it must be 5% faster than the best
    assert timed(lambda width: width / rates[width])[0] == 16


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_out_of_memory_ends_the_trial(timed, error):
    def seconds(width):
        if width == 8:
            raise error
        return 1.0

    assert timed(seconds) == (4, [2, 4, 8])


def test_an_exception_of_the_users_is_left_to_the_trials_and_one_of_ours_is_raised(timed):
    def seconds(error):
        def run(width):
            raise error

        return run

    assert timed(seconds(ArithmeticError("no"))) == (1, [2])
    with pytest.raises(WorkloadError):
        timed(seconds(WorkloadError("no")))


@pytest.mark.parametrize("num_steps", [1, 50])
def test_it_is_measured_on_the_workload_itself(num_steps, global_rng):
    work = workload(num_steps=num_steps)
    support, before = support_of(work, 0), global_rng()
    assert fastest_width(work, [0, 0, 1, 1], support) in (1, 2, 4)
    assert widths._seconds_alone(workload(), 0) > 0
    assert widths._seconds_fused(workload(), [0, 0, 1], support) > 0
    assert global_rng() == before


@pytest.mark.parametrize(
    ("free", "row", "expected"),
    [
        (1000, 100, 5),
        (1099, 100, 5),
        (1200, 100, 6),
        (100, 100, 1),
        (0, 100, 1),
        (1000, 0, 500),
        (None, 100, sys.maxsize),
    ],
)
def test_half_of_the_free_memory_is_filled(monkeypatch, free, row, expected):
    monkeypatch.setattr(widths, "free_bytes", lambda device: free)
    assert fitting_width(Support(row_bytes=row), CPU) == expected


def test_a_batch_of_its_own_counts_as_it_was_drawn_and_in_the_stack(monkeypatch):
    monkeypatch.setattr(widths, "free_bytes", lambda device: 1000)
    support = Support(row_bytes=50, batch_bytes=25)
    assert fitting_width(support, CPU) == 10
    assert fitting_width(support, CPU, own_batches=True) == 5


def test_free_memory_is_that_of_the_system(monkeypatch, tmp_path):
    found = free_bytes(CPU)
    assert found is None or found > 0
    told = tmp_path / "meminfo"
    told.write_text("MemTotal:       64 kB\nMemFree:         1 kB\nMemAvailable:   30 kB\n")
    monkeypatch.setattr(widths, "MEMORY", told)
    assert free_bytes(CPU) == 30 * 1024
    monkeypatch.setattr(widths, "MEMORY", tmp_path / "nowhere")
    assert free_bytes(CPU) is None


def test_what_says_that_memory_is_out():
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert out_of_memory(MemoryError())
    with pytest.raises(RuntimeError) as real:  # of the CPU's allocator itself
        torch.empty(2**60)
    assert out_of_memory(real.value)
    others = [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        ValueError("memory"),
        KeyError("memory"),
        OSError(),
    ]
    assert not any(out_of_memory(each) for each in others)


def test_releasing_memory_of_a_cpu_is_harmless():
    assert release_memory(CPU) is None
