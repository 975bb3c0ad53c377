"""The operator's metrics API with numbers that a test sets, in a thread of the test's process."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator

from llmservice_operator.autoscaling import external_metrics
from llmservice_operator.config.scaling import ScalingSettings
from llmservice_operator.controller.client.api import Cluster as OperatorCluster
from llmservice_operator.controller.client.session import connect
from llmservice_operator.controller.metrics_api.api import MetricsAPI
from support.aggregation import APISERVICES, NODE_ADDRESS, PORT, SERVICE, registered
from support.cluster import Cluster, wait_until
from support.metrics_api import Numbers


@contextlib.contextmanager
def serving(cluster: Cluster, namespace: str, numbers: Numbers) -> Iterator[None]:
    """``numbers`` reach the cluster's HPAs while this lasts; the Service is in ``namespace``."""
    stop, failed = threading.Event(), []

    async def serve() -> None:
        settings = ScalingSettings(
            adapter="own", api_port=PORT, api_service=SERVICE, pod_ip=NODE_ADDRESS, api_endpoints=True
        )
        connection = await connect(streams=0)
        api = MetricsAPI(OperatorCluster(connection.api), settings, namespace, numbers)
        try:
            await api.start()
            while not stop.is_set():
                await api.ensure()
                await asyncio.sleep(0.5)
        finally:
            await api.stop()
            await connection.session.close()

    def run() -> None:
        try:
            asyncio.run(serve())
        except Exception as error:
            failed.append(error)

    def answers() -> bool:
        assert not failed, f"the metrics API ended: {failed[0]!r}"
        found = cluster.request("GET", f"{APISERVICES}/{external_metrics.API_SERVICE}").body
        conditions = found.get("status", {}).get("conditions", [])
        return any(each["type"] == "Available" and each["status"] == "True" for each in conditions)

    with registered(cluster, namespace):
        before = os.environ.get("KUBECONFIG")
        os.environ["KUBECONFIG"] = str(cluster.kubeconfig)
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            wait_until(answers, "the API server finds the metrics API", timeout=60)
            yield
        finally:
            stop.set()
            thread.join(30)
            if before is None:
                os.environ.pop("KUBECONFIG", None)
            else:
                os.environ["KUBECONFIG"] = before
