// The table of checks, and when a whole topic cannot be looked at.
#include "ctl/doctor.h"

const DoctorCheck doctor_checks[] = {
    {"settings", "settings", check_settings},
    {"settings", "timers", check_timers},
    {"settings", "cluster configuration", check_dynamic},
    {"settings", "files", check_files},
    {"api server", "api", check_api},
    {"api server", "token", check_token},
    {"api server", "rights", check_rights},
    {"kubernetes", "labels", check_pod_labels},
    {"kubernetes", "roles", check_pod_roles},
    {"kubernetes", "grace period", check_grace},
    {"kubernetes", "users", check_users},
    {"kubernetes", "volume group", check_volume_group},
    {"kubernetes", "primary's Service", check_primary_service},
    {"kubernetes", "replicas' Service", check_replica_service},
    {"kubernetes", "members' Service", check_member_service},
    {"kubernetes", "variables", check_service_links},
    {"kubernetes", "other stores", check_other_stores},
    {"etcd", "endpoints", check_etcd_endpoints},
    {"etcd", "health", check_etcd_health},
    {"cluster", "state", check_cluster},
    {"members", "agent", check_own_api},
    {"members", "members", check_members},
    {"members", "fences", check_fences},
    {"machine", "warden", check_warden},
    {"machine", "locked memory", check_memlock},
    {"machine", "data directory", check_data_dir},
    {"machine", "space", check_space},
    {"machine", "password file", check_pgpass},
    {"server", "connection", check_connection},
    {"postgres", "replication", check_replication_settings},
    {"postgres", "durability", check_durability},
    {"postgres", "rewind", check_rewind},
    {"postgres", "archive", check_archiving},
    {"postgres", "addresses", check_listening},
    {"postgres", "restart", check_pending_restart},
    {"postgres", "roles", check_roles},
    {"postgres", "rewind rights", check_rewind_rights},
    {"postgres", "pg_hba", check_hba},
    {"postgres", "slots", check_slots},
    {"postgres", "streaming", check_streaming},
};
const size_t doctor_check_count = COUNT_OF(doctor_checks);

// Why not to look at a topic. "": it does not concern this cluster, and nothing is said. NULL:
// look.
typedef const char *Gate(const DoctorFacts *facts);

static const char *gate_api(const DoctorFacts *facts)
{
    return facts->settings->store == STORE_KUBERNETES ? NULL : "";
}

static const char *gate_kubernetes(const DoctorFacts *facts)
{
    if (facts->settings->store != STORE_KUBERNETES)
        return "";
    return facts->kube.version.value != NULL ? NULL : "the API server does not answer";
}

static const char *gate_etcd(const DoctorFacts *facts)
{
    if (facts->settings->store != STORE_ETCD)
        return "";
    return facts->etcd_count > 0 ? NULL : "the settings name no endpoint, or DNS names them (srv)";
}

static const char *gate_members(const DoctorFacts *facts)
{
    return facts->view != NULL ? NULL : "who the members are is said by the store";
}

static const char *gate_machine(const DoctorFacts *facts)
{
    return facts->local.beside ? NULL : str_or(facts->local.why_not, "not beside an agent");
}

static const char *gate_server(const DoctorFacts *facts)
{
    return facts->is_agents
               ? NULL
               : "the settings have no section postgresql: use an agent's (-c), or run it in a pod";
}

// That there is no connection has been said.
static const char *gate_postgres(const DoctorFacts *facts)
{
    return facts->is_agents && facts->sql.error == NULL ? NULL : "";
}

static const struct {
    const char *topic;
    Gate *gate;
} gates[] = {
    {"api server", gate_api},    {"kubernetes", gate_kubernetes}, {"etcd", gate_etcd},
    {"members", gate_members},   {"machine", gate_machine},       {"server", gate_server},
    {"postgres", gate_postgres},
};

static const char *why_not(const DoctorFacts *facts, const char *topic)
{
    for (size_t i = 0; i < COUNT_OF(gates); i++)
        if (str_eq(gates[i].topic, topic))
            return gates[i].gate(facts);
    return NULL;
}

void doctor_run_checks(const DoctorFacts *facts, DoctorReport *report)
{
    const char *topic = NULL, *why = NULL;
    for (size_t i = 0; i < doctor_check_count; i++) {
        const DoctorCheck *check = &doctor_checks[i];
        if (!str_eq(topic, check->topic)) {
            topic = report->topic = report->check = check->topic;
            why = why_not(facts, topic);
            if (!str_empty(why))
                doctor_skipped(report, "%s", why);
        }
        report->check = check->name;
        if (why == NULL)
            check->run(facts, report);
    }
}
