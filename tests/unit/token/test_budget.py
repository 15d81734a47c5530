"""token/budget.py: never more than the limit in any window."""

from breeze_sidecar.token.budget import LIMIT, WINDOW, Budget


def test_the_next_request_is_free_when_the_oldest_one_leaves_the_window() -> None:
    budget = Budget(2)
    assert budget.free_at(0) == 0
    budget.spend(0)
    budget.spend(10)
    assert budget.spent(10) == 2
    assert budget.free_at(11) == WINDOW
    assert budget.free_at(WINDOW) == WINDOW
    assert budget.spent(WINDOW) == 1
    budget.spend(WINDOW)
    assert budget.free_at(WINDOW) == 10 + WINDOW


def test_some_can_be_kept_for_others() -> None:
    budget = Budget()
    for n in range(LIMIT - 10):
        budget.spend(n)
    assert budget.free_at(100) == 100
    assert budget.free_at(100, keep=10) == WINDOW
