// One event stream for all tabs of a browser, since a browser allows six to one host. It runs as a SharedWorker and
// serves the tabs over ports. Pages use it through LiveStream (live-stream.js).
"use strict";

(() => {
    const tabs = new Map(); // Each tab's port, and whether the tab is visible.
    let stream = null;
    let position = 0; // Up to where this browser has read the log.
    let state = "waiting";

    function sendToTabs(message) {
        for (const port of tabs.keys()) port.postMessage(message);
    }

    function setState(next) {
        state = next;
        sendToTabs({ state });
    }

    function open(address) {
        stream = new EventSource(`${address}?after=${position}`);
        stream.onopen = () => setState("live");
        stream.onmessage = (message) => {
            position = Math.max(position, Number(message.lastEventId) || 0);
            sendToTabs({ position, event: message.data });
        };
        stream.onerror = () => {
            const isRefused = stream.readyState === EventSource.CLOSED;
            if (isRefused) close();
            setState(isRefused ? "refused" : "waiting");
        };
    }

    function close() {
        stream?.close();
        stream = null;
    }

    // Keep a stream while at least one tab is visible.
    function openOrClose(address) {
        if (![...tabs.values()].some(Boolean)) close();
        else if (!stream) open(address);
    }

    self.onconnect = ({ ports: [port] }) => {
        port.onmessage = ({ data }) => {
            if (data.isClosing) tabs.delete(port);
            else tabs.set(port, data.isVisible);
            if (!stream) position = Math.max(position, data.position || 0);
            openOrClose(data.address);
            if (data.isClosing || !data.isVisible) return;
            // The page may be older than what the stream has read since.
            port.postMessage(position > data.position ? { state, position, isLate: true } : { state });
        };
    };
})();
