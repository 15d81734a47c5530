"""tasks.py: background tasks."""

import asyncio

from breeze_sidecar.tasks import Tasks


async def test_a_failure_is_told_with_the_tasks_name_and_a_cancellation_is_none() -> None:
    failures: list[tuple[str, BaseException]] = []
    tasks = Tasks(lambda name, error: failures.append((name, error)))
    forever = asyncio.Event()

    async def fail() -> None:
        raise ValueError("broken")

    async def stay() -> None:
        await forever.wait()

    failing, staying = tasks.start("failing", fail()), tasks.start("staying", stay())
    assert staying.get_name() == "staying"
    await asyncio.wait([failing])
    await tasks.close()
    assert staying.cancelled()
    assert [(name, str(error)) for name, error in failures] == [("failing", "broken")]
