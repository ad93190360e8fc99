// LiveStream: this tab's share in the browser's one event stream. In order of preference: a SharedWorker; one tab that
// leads and tells the others over a BroadcastChannel; a stream of the tab's own.
//
//     const stream = new LiveStream(address, {onState, onEvent, onLate});
//     stream.look(position);   // from a page that shows the log up to here
//     stream.leave();
"use strict";

class LiveStream {
    constructor(address, { onState, onEvent, onLate, workerAddress }) {
        this.address = address;
        this.heard = ({ state, event, position, isLate }) => {
            if (state) onState(state);
            if (event) onEvent(JSON.parse(event), position);
            if (isLate) onLate(position);
        };
        this.way = LiveStream.way(this, workerAddress);
    }

    static way(stream, workerAddress) {
        try {
            if (window.SharedWorker) return new SharedWay(stream, workerAddress);
        } catch {
            // A browser may know the word and refuse the deed.
        }
        return navigator.locks && window.BroadcastChannel ? new LedWay(stream) : new OwnWay(stream);
    }

    look(position) {
        this.way.look(position);
    }

    leave() {
        this.way.leave();
    }
}

class SharedWay {
    constructor(stream, workerAddress) {
        this.address = new URL(stream.address, location.href).href;
        this.port = new SharedWorker(workerAddress, { name: "slipway-stream" }).port;
        this.port.onmessage = ({ data }) => stream.heard(data);
        this.port.start();
    }

    look(position) {
        this.port.postMessage({ address: this.address, isLooking: true, position });
    }

    leave() {
        this.port.postMessage({ address: this.address, isLooking: false, position: 0, leaves: true });
    }
}

class OwnWay {
    constructor(stream, tell = () => {}) {
        this.stream = stream;
        this.tell = (message) => {
            stream.heard(message);
            tell(message);
        };
        this.source = null;
    }

    look(position) {
        if (this.source) return;
        const source = (this.source = new EventSource(`${this.stream.address}?after=${position}`));
        source.onopen = () => this.tell({ state: "live" });
        source.onmessage = ({ data, lastEventId }) => this.tell({ event: data, position: Number(lastEventId) || 0 });
        source.onerror = () => {
            const isRefused = source.readyState === EventSource.CLOSED;
            if (isRefused) this.leave();
            this.tell({ state: isRefused ? "refused" : "waiting" });
        };
    }

    leave() {
        this.source?.close();
        this.source = null;
    }
}

// Whoever holds the lock has the stream; when that tab goes, the browser hands the lock to another.
class LedWay {
    constructor(stream) {
        this.channel = new BroadcastChannel("slipway-stream");
        this.own = new OwnWay(stream, (message) => this.channel.postMessage(message));
        this.channel.onmessage = ({ data }) => stream.heard(data);
        this.resign = null;
        this.request = null;
    }

    look(position) {
        if (this.request) return;
        this.request = new AbortController();
        const signal = this.request.signal;
        const lead = () => {
            this.own.look(position);
            return new Promise((resolve) => (this.resign = resolve));
        };
        navigator.locks.request("slipway-stream", { signal }, lead).catch(() => {});
        // Until it hears otherwise, another tab leads, and that one may have heard more than this page shows.
        navigator.locks.query().then(({ held }) => {
            const isLed = held.some(({ name }) => name === "slipway-stream");
            if (isLed && !this.resign) this.own.stream.heard({ state: "live", isLate: true });
        });
    }

    leave() {
        this.request?.abort();
        this.own.leave();
        this.resign?.();
        this.request = this.resign = null;
    }
}
