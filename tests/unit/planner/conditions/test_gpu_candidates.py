"""Which GPUs a service's pods may get, of very many devices."""

from builders.devices import DRIVER, a_device, a_slice
from builders.nodes import a_plain_node
from builders.services import a_service
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.planner.conditions.gpu_candidates import candidates
from llmservice_operator.planner.model.device_inventory import published, with_devices
from llmservice_operator.resources import names
from support.steps import lines_run


def test_of_very_many_devices_only_some_are_considered() -> None:
    many = [a_device(f"gpu-{at}", product=f"Made Up {at % 7}") for at in range(2000)]
    devices = published([a_slice("node-a", *many)], set())
    nodes = with_devices([a_plain_node("node-a")], names.DEVICE_CLASS_RESOURCE + DRIVER, devices)
    assert nodes is not None
    none = f"device.capacity['{DRIVER}'].memory.compareTo(quantity('400Gi')) >= 0"

    def spec(*selectors: str) -> LLMServiceSpec:
        more = {"deviceSelectors": list(selectors)} if selectors else {}
        service = a_service().with_spec(accelerator={"deviceClassName": DRIVER, **more})
        return LLMServiceSpec.model_validate(service.build()["spec"])

    found = candidates(spec(), nodes)
    assert found is not None and len(found) == 7
    assert candidates(spec(*[none] * 8), list(nodes) * 500) == []
    few, many = (lines_run(candidates, spec(*[none] * 8), list(nodes) * count) for count in (5, 25))
    assert many - few < 20 * 2000, "each device of the further nodes was looked at"
