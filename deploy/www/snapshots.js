// SPDX-License-Identifier: Apache-2.0
// snapshots.js - what ../status says, from one answer to the next: which
// transfers run, which have ended since, and the rates of the last minutes. Pure:
// times are the server's, so that the reader's clock does not matter.

export const HISTORY_MOST = 50;
export const SAMPLES_MS = 5 * 60 * 1000;

// Ranges of bytes that move; what an extents request has done is a position.
export const READS = ["read"];
export const WRITES = ["write", "zero"];

function number(value, otherwise) {
    return Number.isFinite(value) && value >= 0 ? value : otherwise;
}

function text(value) {
    return typeof value === "string" ? value : "";
}

function readTransfer(from) {
    const at = from ?? {};

    return {
        id: text(at.id),
        request: text(at.request),
        method: text(at.method),
        operation: text(at.operation),
        backend: text(at.backend),
        client: text(at.client),
        offset: number(at.offset, 0),
        total: number(at.total, null),
        done: number(at.done, 0),
        rate: number(at.rate, 0),
        start_ms: number(at.start_ms, 0),
    };
}

// The transfers of an answer, oldest first: those that are shown stay where they
// are when others come and go. Each gets a key that is its own as long as it runs.
export function readTransfers(list) {
    const times = new Map();
    const transfers = list.map(readTransfer);

    transfers.sort((a, b) =>
        a.start_ms - b.start_ms ||
        (a.request < b.request ? -1 : a.request > b.request ? 1 : 0));
    for (const one of transfers) {
        const name = [one.request, one.id, one.operation, one.start_ms].join(" ");
        const nth = times.get(name) ?? 0;
        times.set(name, nth + 1);
        one.key = `${name} ${nth}`;
    }
    return transfers;
}

// An answer of ../status; throws if it is none.
export function readStatus(data) {
    if (!Array.isArray(data?.transfers) || !Number.isFinite(data.now_ms))
        throw new Error("this is no answer of imageio-fcgi");
    return {
        version: text(data.version),
        now_ms: data.now_ms,
        started_ms: number(data.started_ms, null),
        processes: number(data.processes, null),
        scope: text(data.limits?.scope),
        max_readers: number(data.limits?.max_readers, null),
        max_writers: number(data.limits?.max_writers, null),
        readers: number(data.readers, 0),
        writers: number(data.writers, 0),
        transfers: readTransfers(data.transfers),
    };
}

function rateOf(transfers, operations) {
    return transfers
        .filter((one) => operations.includes(one.operation))
        .reduce((sum, one) => sum + one.rate, 0);
}

export class Track {
    running = []; // of the last answer
    ended = []; // newest first
    samples = []; // {at, read, write}, oldest first

    // status is what readStatus returned.
    take(status) {
        const keys = new Set(status.transfers.map((one) => one.key));
        const now = status.now_ms;
        const gone = this.running.filter((one) => !keys.has(one.key));

        for (const one of gone)
            this.ended.unshift({...one, ended_ms: now});
        this.ended.length = Math.min(this.ended.length, HISTORY_MOST);
        this.running = status.transfers.map((one) => ({...one, seen_ms: now}));

        // After a step of the server's clock, only what fits.
        this.samples = this.samples.filter(
            ({at}) => at < now && at >= now - SAMPLES_MS);
        this.samples.push({
            at: now,
            read: rateOf(status.transfers, READS),
            write: rateOf(status.transfers, WRITES),
        });
    }
}

export function leftMs({total, done, rate}) {
    if (total === null || !(rate > 0))
        return NaN;
    return (Math.max(0, total - done) / rate) * 1000;
}

// Over all the time in which it was seen to run.
export function averageRate({done, start_ms, seen_ms}) {
    const ms = seen_ms - start_ms;

    // What has just begun is in buffers on its way, and says nothing yet.
    return ms >= 1000 ? (done * 1000) / ms : NaN;
}

// [0, 1], or null where there is nothing to measure by: the end is not known, or no
// bytes are moved (flush).
export function fraction({total, done}) {
    return total ? Math.min(1, done / total) : null;
}

// The upper edge of a graph: 1, 2, 5, 10 ... 500 MiB, GiB and so on.
export function roundUp(rate) {
    const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500];
    let unit = 1024 * 1024;

    while (rate > 500 * unit)
        unit *= 1024;
    return steps.find((step) => rate <= step * unit) * unit;
}
