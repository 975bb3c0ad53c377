"""The dashboards, rules and alerts of the project as tables of Python, from which the files of the chart are written."""
