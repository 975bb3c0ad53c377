"""The runtime with short waits for hubs and stores that are unavailable: what it does then is seen without them."""


def with_short_waits(*arguments: str, seconds: float = 3.0, try_seconds: float = 2.0) -> tuple[str, str]:
    """Arguments of Python in place of ``-m llmservice_runtime ARGUMENTS``. ``seconds``: of all questions to one server;
    ``try_seconds``: of one."""
    return (
        "-c",
        "import sys; from llmservice_runtime.model import bucket, hub, unavailable; "
        f"unavailable.TRY_SECONDS = hub.TRY_SECONDS = {try_seconds}; unavailable.FIRST_PAUSE = 0.1; "
        f"defaults = unavailable.Server.__init__.__defaults__; bucket._STORE.seconds = {seconds}; "
        f"unavailable.Server.__init__.__defaults__ = ({seconds}, *defaults[1:]); "
        f"from llmservice_runtime.__main__ import main; sys.argv[1:] = {list(arguments)!r}; sys.exit(main())",
    )
