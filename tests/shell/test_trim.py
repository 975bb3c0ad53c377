"""What is kept of texts in a status that anybody may have written."""

import copy
from typing import Any

from llmservice_operator.shell.trim import LONGEST_MESSAGE, trim


def test_of_a_long_message_the_end_is_kept():
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "chat-0", "namespace": "team-a", "uid": "u"},
        "status": {"containerStatuses": [{"state": {"waiting": {"message": "x" * 100_000 + "end"}}}]},
    }
    before = copy.deepcopy(pod)
    message = trim(pod)["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
    assert len(message) == LONGEST_MESSAGE + 1
    assert message.endswith("end")
    assert pod == before
    short = {**pod, "status": {"phase": "Running", "conditions": [{"message": "short"}]}}
    assert trim(short)["status"] is short["status"]
