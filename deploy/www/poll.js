// SPDX-License-Identifier: Apache-2.0
// poll.js - asking the server: once (ask), and again and again (Poll), one request at
// a time, less often while it fails, and not at all while nobody looks.

const EVERY_MS = 1000;
const EVERY_MS_MOST = 15000; // while it fails
const PATIENCE_MS = 10000;

// An answer that is not 2xx: its status, and the sentence in it if there is one.
export class Refusal extends Error {
    constructor(status, sentence) {
        super(sentence ? `${status}: ${sentence}` : `${status}`);
        this.status = status;
    }
}

async function sentenceOf(response) {
    try {
        const {error} = await response.json();
        return typeof error === "string" ? error.slice(0, 300) : "";
    } catch {
        return ""; // the web server's own page
    }
}

// ask URL {headers, signal}: the response, once its head is there; throws a Refusal, or
// a TypeError where there is no server.
export async function ask(url, {headers = {}, signal} = {}) {
    const response = await fetch(url, {
        headers, signal, cache: "no-store", redirect: "error",
        referrerPolicy: "no-referrer",
    });

    if (!response.ok)
        throw new Refusal(response.status, await sentenceOf(response));
    return response;
}

export class Poll {
    #url;
    #headers;
    #onAnswer;
    #onFailure;
    #timer = null;
    #abort = null; // of the request that runs
    #isStopped = false;
    #wait = EVERY_MS;

    // onAnswer(json) may throw: then it was no answer. onFailure(error, ms until the
    // next try).
    constructor(url, {headers, onAnswer, onFailure}) {
        this.#url = url;
        this.#headers = headers;
        this.#onAnswer = onAnswer;
        this.#onFailure = onFailure;
        document.addEventListener("visibilitychange", this.#look);
        this.#look();
    }

    stop() {
        this.#isStopped = true;
        document.removeEventListener("visibilitychange", this.#look);
        clearTimeout(this.#timer);
        this.#abort?.abort();
    }

    #look = () => {
        clearTimeout(this.#timer);
        if (!document.hidden && !this.#isStopped && !this.#abort)
            this.#run();
    };

    async #run() {
        const abort = new AbortController();
        const late = setTimeout(() => abort.abort(), PATIENCE_MS);

        this.#abort = abort;
        try {
            const response = await ask(this.#url,
                {headers: this.#headers, signal: abort.signal});
            const data = await response.json();
            if (!this.#isStopped)
                this.#onAnswer(data);
            this.#wait = EVERY_MS;
        } catch (error) {
            this.#wait = Math.min(this.#wait * 2, EVERY_MS_MOST);
            if (!this.#isStopped)
                this.#onFailure(error, this.#wait);
        }
        clearTimeout(late);
        this.#abort = null;
        if (!document.hidden && !this.#isStopped)
            this.#timer = setTimeout(this.#look, this.#wait);
    }
}

// What a failure means, in words; nothing of it is markup.
export function explain(error) {
    if (error instanceof Refusal && error.status === 403)
        return "the web server does not let this address see it (403)";
    if (error instanceof Refusal && error.status === 404)
        return "there is no /status at this address (404)";
    if (error instanceof Refusal)
        return `the server answers ${error.message}`;
    if (error.name === "AbortError")
        return `no answer within ${PATIENCE_MS / 1000} s`;
    if (error instanceof SyntaxError)
        return "its answer is no JSON";
    if (error instanceof TypeError)
        return "no connection";
    return error.message;
}
