"""The lock is handed on in the order of arrival."""

from __future__ import annotations

import threading

from directions.explorer.fair_lock import FairLock


def test_fair_lock_serves_in_order_and_one_at_a_time():
    """Eight threads come one after the other; a ninth that let go and comes again is the last."""
    lock, order, inside = FairLock(), [], []

    def work(number):
        with lock:
            inside.append(number)
            assert len(inside) == 1
            order.append(number)
            inside.pop()

    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    with lock:
        for number, thread in enumerate(threads):
            thread.start()
            while len(lock._waiting) <= number:  # until it stands in line
                pass
    work(8)
    for thread in threads:
        thread.join()
    assert order == list(range(9))


def test_fair_lock_is_free_after_an_error():
    """As any lock."""
    lock = FairLock()
    try:
        with lock:
            raise KeyError
    except KeyError:
        pass
    with lock:
        assert lock._held
    assert not lock._held
