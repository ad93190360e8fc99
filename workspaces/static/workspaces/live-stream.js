// LiveStream: this tab's part of the browser's one event stream. It uses, in order of preference, a SharedWorker; one tab
// that leads and sends to the others over a BroadcastChannel; or a stream of the tab's own.
//
//     const stream = new LiveStream(address, {workerAddress, onState, onEvent, onLate});
//     stream.open(position);   // from a page that shows the log up to this position
//     stream.close();
"use strict";

class LiveStream {
    constructor(address, { onState, onEvent, onLate, workerAddress }) {
        this.address = address;
        this.receive = ({ state, event, position, isLate }) => {
            if (state) onState(state);
            if (event) onEvent(JSON.parse(event), position);
            if (isLate) onLate(position);
        };
        this.source = LiveStream.source(this, workerAddress);
    }

    static source(stream, workerAddress) {
        try {
            if (window.SharedWorker) return new WorkerSource(stream, workerAddress);
        } catch {
            // A browser may define SharedWorker and refuse to start one.
        }
        return navigator.locks && window.BroadcastChannel ? new LeaderSource(stream) : new OwnSource(stream);
    }

    open(position) {
        this.source.open(position);
    }

    close() {
        this.source.close();
    }
}

class WorkerSource {
    constructor(stream, workerAddress) {
        this.address = new URL(stream.address, location.href).href;
        this.port = new SharedWorker(workerAddress, { name: "slipway-stream" }).port;
        this.port.onmessage = ({ data }) => stream.receive(data);
        this.port.start();
    }

    open(position) {
        this.port.postMessage({ address: this.address, isVisible: true, position });
    }

    close() {
        this.port.postMessage({ address: this.address, isVisible: false, position: 0, isClosing: true });
    }
}

class OwnSource {
    constructor(stream, forward = () => {}) {
        this.stream = stream;
        this.send = (message) => {
            stream.receive(message);
            forward(message);
        };
        this.source = null;
    }

    open(position) {
        if (this.source) return;
        const source = (this.source = new EventSource(`${this.stream.address}?after=${position}`));
        source.onopen = () => this.send({ state: "live" });
        source.onmessage = ({ data, lastEventId }) => this.send({ event: data, position: Number(lastEventId) || 0 });
        source.onerror = () => {
            const isRefused = source.readyState === EventSource.CLOSED;
            if (isRefused) this.close();
            this.send({ state: isRefused ? "refused" : "waiting" });
        };
    }

    close() {
        this.source?.close();
        this.source = null;
    }
}

// The tab that holds the lock has the stream. When it closes, the browser gives the lock to another tab.
class LeaderSource {
    constructor(stream) {
        // One for each Slipway, since several may be below different paths of one host.
        this.name = `slipway-stream ${stream.address}`;
        this.channel = new BroadcastChannel(this.name);
        this.own = new OwnSource(stream, (message) => this.channel.postMessage(message));
        this.channel.onmessage = ({ data }) => stream.receive(data);
        this.releaseLock = null;
        this.request = null;
    }

    open(position) {
        if (this.request) return;
        this.request = new AbortController();
        const signal = this.request.signal;
        const lead = () => {
            this.own.open(position);
            return new Promise((resolve) => (this.releaseLock = resolve));
        };
        navigator.locks.request(this.name, { signal }, lead).catch(() => {});
        // If another tab leads, assume that its stream is live, and that it has read more than this page shows.
        navigator.locks.query().then(({ held }) => {
            const isLed = held.some(({ name }) => name === this.name);
            if (isLed && !this.releaseLock) this.own.stream.receive({ state: "live", isLate: true });
        });
    }

    close() {
        this.request?.abort();
        this.own.close();
        this.releaseLock?.();
        this.request = this.releaseLock = null;
    }
}
