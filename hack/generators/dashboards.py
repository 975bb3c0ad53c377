"""Prints a dashboard of the chart by its name; without a name, the names of all."""

import sys

from insight import inference, model, operator, requests, resources
from insight.panel import render

DASHBOARDS = {
    each.name: each
    for each in (
        inference.DASHBOARD,
        resources.DASHBOARD,
        requests.DASHBOARD,
        model.DASHBOARD,
        operator.DASHBOARD,
    )
}

if __name__ == "__main__":
    if sys.argv[1:]:
        sys.stdout.write(render(DASHBOARDS[sys.argv[1]]))
    else:
        print("\n".join(DASHBOARDS))
