/* SPDX-License-Identifier: Apache-2.0 */
/* The protocol: a table of actions, each followed by a sweep and the number of
 * tickets that are left. */
#include "ctl/agent.h"

#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "ctl/ticket_entry.h"
#include "http/path.h"
#include "ticket/activity.h"

#define LINE_MAX_DEPTH 17 /* a ticket has 16 */
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct request {
    const struct json *object;
    const char *id; /* NULL: the action has none */
};

static int
do_register(struct agent *agent, const struct request *request,
            struct error *err)
{
    const struct json *config = json_get_object(request->object, "config");
    struct json *ticket;
    int rc;

    if (config == NULL)
        return error_set(err, 400, "\"config\" must be an object");
    ticket = json_new_object();
    json_add_members(ticket, config);
    if (!json_has(ticket, "idle_timeout_seconds"))
        json_add_number(ticket, "idle_timeout_seconds", agent->idle_s);
    rc = ticket_store_write(&agent->store, request->id, ticket, true, err);
    json_free(ticket);
    return rc;
}

/* That there is none is what was asked for. */
static int
do_unregister(struct agent *agent, const struct request *request,
              struct error *err)
{
    return ticket_store_remove(&agent->store, request->id, err) == -1 ? -1 : 0;
}

static int
do_status(struct agent *agent, const struct request *request, struct error *err)
{
    (void)agent;
    (void)request;
    (void)err;
    return 0;
}

static const struct action {
    const char *name;
    bool has_id;
    int (*run)(struct agent *agent, const struct request *request,
               struct error *err);
} actions[] = {
    {"register", true, do_register},
    {"unregister", true, do_unregister},
    {"status", false, do_status},
};

static const struct action *
find_action(const struct json *object)
{
    const char *name;

    if (json_get_string(object, "action", &name) != JSON_FOUND)
        return NULL;
    for (size_t i = 0; i < COUNT(actions); i++)
        if (strcmp(actions[i].name, name) == 0)
            return &actions[i];
    return NULL;
}

static int
read_request(struct request *ret, const struct action **action,
             const struct json *object, struct error *err)
{
    if (!json_is_object(object))
        return error_set(err, 400, "not a JSON object");
    *action = find_action(object);
    if (*action == NULL)
        return error_set(err, 400,
                         "\"action\" must be \"register\", \"unregister\" or "
                         "\"status\"");
    *ret = (struct request){.object = object};
    if ((*action)->has_id &&
        (json_get_string(object, "transfer_id", &ret->id) != JSON_FOUND ||
         !path_is_id(ret->id, strlen(ret->id)))) {
        ret->id = NULL;
        return error_set(err, 400, "\"transfer_id\" must be an image id");
    }
    return 0;
}

/* What should be swept but cannot counts as little, and agent_tend() tells. */
static int
sweep_and_count(const struct ticket_store *store, size_t *active,
                struct error *err)
{
    struct ticket_store hasty = *store;
    struct error ignored;

    hasty.patience_ms = 0;
    ticket_entry_sweep(&hasty, &ignored);
    return ticket_entry_count(active, store, err);
}

static int
act(struct agent *agent, const struct action *action,
    const struct request *request, size_t *active, struct error *err)
{
    int rc;

    if (ticket_store_open(&agent->store, err) == -1)
        return -1;
    rc = action->run(agent, request, err);
    if (rc == 0)
        rc = sweep_and_count(&agent->store, active, err);
    ticket_store_close(&agent->store);
    return rc;
}

/* One line a change or refusal; an agent asks for the status all the time. */
static void
log_outcome(const struct action *action, const struct request *request, int rc,
            size_t active, const struct error *err)
{
    const char *name = action != NULL ? action->name : "request";
    char id[LOG_ID_SIZE] = "-", cause[sizeof(err->text)];

    if (request->id != NULL)
        log_id(id, request->id);
    if (rc == -1)
        log_warning("%s ticket=%s refused=\"%s\"", name, id,
                    log_escape(cause, sizeof(cause), err->text));
    else
        log_line(request->id != NULL ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG,
                 "%s ticket=%s active=%zu", name, id, active);
}

static struct json *
answer_ok(size_t active)
{
    struct json *answer = json_new_object();

    json_add_string(answer, "status", "ok");
    json_add_number(answer, "active_transfers", active);
    return answer;
}

struct json *
agent_refusal(const char *message)
{
    struct json *answer = json_new_object();

    json_add_string(answer, "status", "error");
    json_add_string(answer, "message", message);
    return answer;
}

struct json *
agent_answer(struct agent *agent, const char *line, size_t length)
{
    const struct action *action = NULL;
    struct request request = {0};
    struct json *object = NULL;
    size_t active = 0;
    struct error err;
    int rc = json_parse(&object, line, length, LINE_MAX_DEPTH, &err);

    if (rc == 0)
        rc = read_request(&request, &action, object, &err);
    if (rc == 0)
        rc = act(agent, action, &request, &active, &err);
    log_outcome(action, &request, rc, active, &err);
    json_free(object);
    return rc == 0 ? answer_ok(active) : agent_refusal(err.text);
}

int
agent_begin(struct agent *agent, size_t *active, struct error *err)
{
    int rc;

    /* Any id: it is the lock file that has to open. */
    if (activity_has_requests(agent->store.run_dir, "", err) == -1 ||
        ticket_store_open(&agent->store, err) == -1)
        return -1;
    rc = sweep_and_count(&agent->store, active, err);
    ticket_store_close(&agent->store);
    return rc;
}

static int
sweep(struct agent *agent, struct error *err)
{
    int rc;

    if (ticket_store_open(&agent->store, err) == -1)
        return -1;
    rc = ticket_entry_sweep(&agent->store, err);
    ticket_store_close(&agent->store);
    return rc;
}

void
agent_tend(struct agent *agent)
{
    const bool had_trouble = agent->has_trouble;
    struct error err;

    agent->has_trouble = sweep(agent, &err) == -1;
    if (agent->has_trouble && !had_trouble)
        log_warning("sweep: %s", err.text);
}
