"""Finds the processes of a launch by what they show, as an operator would with ps."""

import psutil

from workspaces.provisioners.host_processes import is_alive


def processes_of(launch_id):
    """Return the living processes with this launch's name or its ID in their environment, the oldest first."""
    found = []
    for process in psutil.process_iter():
        try:
            is_ours = process.name() == name_of(launch_id) or process.environ().get("LAUNCH_ID") == str(launch_id)
        except psutil.Error:
            continue
        if is_ours and is_alive(process):
            found.append(process)
    return sorted(found, key=lambda process: (process.create_time(), process.pid))


def name_of(launch_id):
    """Return the name of a launch's supervisor and agent: the end of its ID, as much as the kernel takes."""
    return str(launch_id).replace("-", "")[-15:]
