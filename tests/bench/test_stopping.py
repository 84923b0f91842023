from __future__ import annotations

import os
import signal
import threading

import pytest

from spectral_bench.bench.work.order import SIGNALS, StopFlag, stop_on_signals


@pytest.mark.parametrize("number", SIGNALS)
def test_each_signal_sets_the_flag(number: signal.Signals) -> None:
    flag = StopFlag()
    before = signal.getsignal(number)
    with stop_on_signals(flag):
        assert not flag()
        os.kill(os.getpid(), number)
        assert flag()
    assert signal.getsignal(number) == before


def test_second_interrupt_insists() -> None:
    flag = StopFlag()
    with stop_on_signals(flag):
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert flag.count == 2


def test_second_signal_of_another_kind_does_not() -> None:
    flag = StopFlag()
    with stop_on_signals(flag):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR2)
    assert flag.count == 3


def test_interrupts_are_only_counted_where_asked() -> None:
    flag = StopFlag()
    with stop_on_signals(flag, insist=False):
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
    assert flag.count == 3


def test_other_threads_leave_the_handlers_alone() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    seen: list[bool] = []

    def work() -> None:
        with stop_on_signals(StopFlag()):
            seen.append([signal.getsignal(number) for number in SIGNALS] == before)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]
