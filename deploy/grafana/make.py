"""The dashboards, each a list of panels; `python3 deploy/grafana/make.py` writes their JSON."""

import json
import pathlib

HERE = pathlib.Path(__file__).resolve().parent / "dashboards"
CALLS = "rpc_server_call_duration_seconds"
RUNS = "messaging_process_duration_seconds"


def quantiles(metric, by, where=""):
    return [
        (f"histogram_quantile({q}, sum by (le, {by}) (rate({metric}_bucket{{{where}}}[5m])))", f"p{int(q * 100)} {{{{{by}}}}}")
        for q in (0.5, 0.99)
    ]


GATEWAY = 'job=~".*gateway.*"'
DASHBOARDS = {
    "overview": ("Hero: overview", [
        ("Jobs that end in a second", "ops", [(f"sum by (hero_script_type) (rate({RUNS}_count[5m]))", "{{hero_script_type}}")]),
        ("Jobs that wait", "short", [("max by (hero_script_type) (hero_job_queue_depth)", "{{hero_script_type}}")]),
        ("Slots in use", "percentunit", [("sum by (hero_script_type) (hero_runner_busy) / sum by (hero_script_type) (hero_runner_slots)", "{{hero_script_type}}")]),
        ("Calls in a second", "ops", [(f"sum by (job) (rate({CALLS}_count[5m]))", "{{job}}")]),
        ("Jobs taken back from lost runners", "short", [("sum by (kind) (increase(hero_store_swept_total[5m]))", "{{kind}}")]),
        ("Processes", "short", [("count by (job) (process_thread_count)", "{{job}}")]),
    ]),
    "jobs": ("Hero: jobs", [
        ("Queued in a second", "ops", [("sum by (hero_script_type) (rate(messaging_client_sent_messages_total[5m]))", "{{hero_script_type}}")]),
        ("How long a job that is queued now will wait", "s", [("hero:queue_wait:seconds", "{{hero_script_type}}")]),
        ("How long jobs run", "s", quantiles(RUNS, "hero_script_type")),
        ("Callers that wait for jobs", "short", [("sum(hero_job_waiters)", "waiters")]),
        ("Upkeep", "short", [("sum by (kind) (rate(hero_store_swept_total[5m]))", "{{kind}}")]),
    ]),
    "runners": ("Hero: runners", [
        ("Busy", "short", [("sum by (instance, hero_script_type) (hero_runner_busy)", "{{instance}} {{hero_script_type}}")]),
        ("Slots", "short", [("sum by (instance, hero_script_type) (hero_runner_slots)", "{{instance}} {{hero_script_type}}")]),
        ("Jobs that end in a second", "ops", [(f"sum by (instance) (rate({RUNS}_count[5m]))", "{{instance}}")]),
        ("Memory", "bytes", [('process_memory_usage_bytes{job=~".*runner.*"}', "{{instance}}")]),
        ("Processors", "short", [('rate(process_cpu_time_seconds_total{job=~".*runner.*"}[5m])', "{{instance}}")]),
    ]),
    "gateway": ("Hero: gateway", [
        ("Calls in a second", "ops", [(f"sum by (rpc_method) (rate({CALLS}_count{{{GATEWAY}}}[5m]))", "{{rpc_method}}")]),
        ("How long calls take", "s", quantiles(CALLS, "rpc_method", GATEWAY)),
        ("Refusals by code", "ops", [(f'sum by (rpc_status_code) (rate({CALLS}_count{{{GATEWAY},rpc_status_code!=""}}[5m]))', "{{rpc_status_code}}")]),
        ("Refused by a limit", "ops", [("sum by (reason) (rate(hero_limit_refused_total[5m]))", "{{reason}}")]),
        ("Connections", "short", [("sum by (kind) (hero_connections)", "{{kind}}")]),
        ("Open files", "short", [(f"process_unix_file_descriptor_count{{{GATEWAY}}}", "{{instance}}")]),
    ]),
    "bus-and-overlay": ("Hero: nodes, bus and overlay", [
        ("Nodes by their state", "short", [("max by (hero_node_state) (hero_nodes)", "{{hero_node_state}}")]),
        ("Calls of the explorer, bridge and relay", "ops", [(f'sum by (job, rpc_method) (rate({CALLS}_count{{job=~".*(explorer|bridge|relay).*"}}[5m]))', "{{job}} {{rpc_method}}")]),
        ("How long they take", "s", quantiles(CALLS, "job", 'job=~".*(explorer|bridge|relay).*"')),
        ("Messages of the bus in a second", "ops", [("sum by (kind) (rate(hero_bus_messages_total[5m]))", "{{kind}}")]),
        ("Messages that the bus holds", "short", [("sum by (kind) (hero_bus_depth)", "{{kind}}")]),
        ("How long askers on the bus wait", "s", [(f"histogram_quantile({q}, sum by (le) (rate(hero_bus_answer_age_seconds_bucket[5m])))", f"p{int(q * 100)}") for q in (0.5, 0.99)]),
        ("Tasks started again", "short", [("sum by (task) (increase(hero_task_restarts_total[10m]))", "{{task}}")]),
    ]),
}  # fmt: skip


def panel(number, title, unit, queries):
    return {
        "id": number + 1,
        "title": title,
        "type": "timeseries",
        "datasource": {"type": "prometheus", "uid": "prometheus"},
        "gridPos": {"x": 12 * (number % 2), "y": 8 * (number // 2), "w": 12, "h": 8},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(65 + index), "expr": query, "legendFormat": legend}
            for index, (query, legend) in enumerate(queries)
        ],
    }


def made():
    for name, (title, panels) in DASHBOARDS.items():
        board = {
            "uid": f"hero-{name}",
            "title": title,
            "tags": ["hero"],
            "schemaVersion": 39,
            "refresh": "10s",
            "time": {"from": "now-1h", "to": "now"},
            "panels": [panel(number, *what) for number, what in enumerate(panels)],
        }
        yield name, json.dumps(board, indent=2) + "\n"


if __name__ == "__main__":
    for name, text in made():
        (HERE / f"{name}.json").write_text(text, encoding="utf-8")
