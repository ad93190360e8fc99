// One event stream for all tabs of a browser: a browser allows six to one host. As a SharedWorker it serves its tabs
// over ports. It is the only one who knows EventSource; pages know LiveStream (live-stream.js).
"use strict";

(() => {
    const tabs = new Map(); // Each tab's port, and whether the tab is looked at.
    let stream = null;
    let position = 0; // How far this browser has heard the log.
    let state = "waiting";

    function tell(message) {
        for (const port of tabs.keys()) port.postMessage(message);
    }

    function become(next) {
        state = next;
        tell({ state });
    }

    function open(address) {
        stream = new EventSource(`${address}?after=${position}`);
        stream.onopen = () => become("live");
        stream.onmessage = (message) => {
            position = Math.max(position, Number(message.lastEventId) || 0);
            tell({ position, event: message.data });
        };
        stream.onerror = () => {
            const isRefused = stream.readyState === EventSource.CLOSED;
            if (isRefused) close();
            become(isRefused ? "refused" : "waiting");
        };
    }

    function close() {
        stream?.close();
        stream = null;
    }

    // A stream is wanted as long as one of the tabs is looked at.
    function openOrClose(address) {
        if (![...tabs.values()].some(Boolean)) close();
        else if (!stream) open(address);
    }

    self.onconnect = ({ ports: [port] }) => {
        port.onmessage = ({ data }) => {
            if (data.leaves) tabs.delete(port);
            else tabs.set(port, data.isLooking);
            if (!stream) position = Math.max(position, data.position || 0);
            openOrClose(data.address);
            if (data.leaves || !data.isLooking) return;
            // The page may be older than what the others have heard since.
            port.postMessage(position > data.position ? { state, position, isLate: true } : { state });
        };
    };
})();
