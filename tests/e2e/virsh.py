#!/usr/bin/env python3
"""virsh.py - what libvirt's virsh does for a backup, done with a guest's disk
that qemu-storage-daemon has: the block commands are those that libvirt sends to
qemu, the names of exports and bitmaps those that it chooses.

The daemon's QMP socket is $D/guest.qmp, its disk the node "vda", and its NBD
server, of which it can have only one, listens on $D/guest.sock: where a backup
asks for a server, that gets a second name. Each call is noted in $D/virsh.log.
"""
import json
import os
import socket
import subprocess
import sys
import time
import xml.etree.ElementTree as xml

D = os.environ["D"]
STATE = D + "/virsh.state"


class Qmp:
    def __init__(self):
        self.peer = socket.socket(socket.AF_UNIX)
        self.peer.connect(D + "/guest.qmp")
        self.lines = self.peer.makefile("r")
        self.lines.readline()
        self("qmp_capabilities")

    def __call__(self, command, **arguments):
        request = {"execute": command, "arguments": {
            key.replace("_", "-"): value for key, value in arguments.items()}}
        self.peer.sendall(json.dumps(request).encode())
        for line in self.lines:
            answer = json.loads(line)
            if "error" in answer:
                sys.exit("error: " + answer["error"]["desc"])
            if "return" in answer:
                return answer["return"]
        sys.exit("error: qemu is gone")


def action(kind, **arguments):
    return {"type": kind, "data": {
        key.replace("_", "-"): value for key, value in arguments.items()}}


def backup_begin(qmp, guest, backup_file, checkpoint_file=None):
    backup = xml.parse(backup_file).getroot()
    assert backup.tag == "domainbackup" and backup.get("mode") == "pull"
    server = backup.find("server")
    assert server.get("transport") == "unix"
    [disk] = backup.findall("disks/disk")
    assert disk.get("name") == "vda" and disk.get("type") == "file"
    scratch = disk.find("scratch").get("file")
    if os.path.exists(STATE):
        sys.exit("error: another backup job is already running")
    if os.path.exists(scratch):
        sys.exit("error: store '%s' for backup of 'vda' exists" % scratch)

    actions = []
    bitmap = None
    size = qmp_size(qmp)
    since = backup.findtext("incremental")
    if since:
        bitmap = disk.get("exportbitmap", "backup-vda")
        actions += [
            action("block-dirty-bitmap-add", node="scratch", name=bitmap,
                   disabled=True),
            action("block-dirty-bitmap-merge", node="scratch", target=bitmap,
                   bitmaps=[{"node": "vda", "name": since}])]
    if checkpoint_file:
        checkpoint = xml.parse(checkpoint_file).getroot()
        assert checkpoint.tag == "domaincheckpoint"
        [point] = checkpoint.findall("disks/disk")
        assert point.get("name") == "vda"
        assert point.get("checkpoint") == "bitmap"
        actions.append(action("block-dirty-bitmap-add", node="vda",
                              name=checkpoint.findtext("name"),
                              persistent=True))
    actions.append(action("blockdev-backup", job_id="backup", device="vda",
                          target="scratch", sync="none"))

    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", scratch,
                    str(size)], check=True)
    qmp("blockdev-add", driver="qcow2", node_name="scratch", backing="vda",
        file={"driver": "file", "filename": scratch})
    qmp("transaction", actions=actions)
    qmp("block-export-add", type="nbd", id="backup", node_name="scratch",
        name=disk.get("exportname", "vda"), writable=False,
        bitmaps=[bitmap] if bitmap else [])
    os.link(D + "/guest.sock", server.get("socket"))
    with open(STATE, "w") as state:
        json.dump({"scratch": scratch, "socket": server.get("socket")}, state)
    print("Backup started")


def qmp_size(qmp):
    [node] = [n for n in qmp("query-named-block-nodes")
              if n["node-name"] == "vda"]
    return node["image"]["virtual-size"]


def domjobabort(qmp, guest):
    if not os.path.exists(STATE):
        sys.exit("error: Requested operation is not valid: no job is active")
    with open(STATE) as state:
        backup = json.load(state)
    qmp("job-cancel", id="backup")
    while qmp("query-jobs"):
        time.sleep(0.02)
    qmp("block-export-del", id="backup", mode="hard")
    while qmp("query-block-exports")[1:]:
        time.sleep(0.02)
    qmp("blockdev-del", node_name="scratch")
    os.unlink(backup["scratch"])
    os.unlink(backup["socket"])
    os.unlink(STATE)


def checkpoint_delete(qmp, guest, name):
    qmp("block-dirty-bitmap-remove", node="vda", name=name)
    print("Domain checkpoint %s deleted" % name)


def checkpoint_list(qmp, guest):
    [node] = [n for n in qmp("query-named-block-nodes")
              if n["node-name"] == "vda"]
    for bitmap in node.get("dirty-bitmaps", []):
        print(bitmap["name"])


def domfsfreeze(qmp, guest):
    print("Freezed 1 filesystem(s)")


def domfsthaw(qmp, guest):
    print("Thawed 1 filesystem(s)")


with open(D + "/virsh.log", "a") as log:
    print(*sys.argv[1:], file=log)
globals()[sys.argv[1].replace("-", "_")](Qmp(), *sys.argv[2:])
