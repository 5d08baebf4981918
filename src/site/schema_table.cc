// The table itself. Grows with each capability; nothing else needs to know a field's name.
#include "site/schema.h"

namespace consort::site {
namespace {

std::vector<Field> with_resource_fields(std::vector<Field> own) {
  std::vector<Field> fields = {
      {"type", Kind::string, "Which kind of resource this is.", true},
      {"purpose", Kind::string, "Why it is there; `explain` and the docs of the site tell it."},
      {"when", Kind::selector,
       "Only on hosts whose labels and facts match: `os.id in (debian,ubuntu),arch=amd64`."},
      {"after", Kind::strings, "Names of resources that must be kept or repaired before this one."},
      {"enforcement",
       Kind::string,
       "What the agent may do about a difference; default enforce.",
       false,
       nullptr,
       nullptr,
       {"enforce", "warn", "audit"}},
      {"timeout", Kind::duration, "How long applying it may take."},
      {"sensitive", Kind::boolean, "Its content appears in no diff, log or report."},
      {"onChange",
       Kind::string,
       "Of what a daemon comes after: whether its change restarts the daemon; default restart.",
       false,
       nullptr,
       nullptr,
       {"restart", "ignore"}},
      {"onRemoval",
       Kind::string,
       "What happens to it when it leaves the site; default keep.",
       false,
       nullptr,
       nullptr,
       {"keep", "revert"}},
  };
  fields.insert(fields.end(), std::make_move_iterator(own.begin()),
                std::make_move_iterator(own.end()));
  return fields;
}

const Schema kReadiness{
    "readiness",
    "When a started daemon counts as ready.",
    {
        {"type",
         Kind::string,
         "How to find out.",
         true,
         nullptr,
         nullptr,
         {"none", "notify", "tcp", "http", "command"}},
        {"port", Kind::port, "The port to try (tcp, http)."},
        {"address", Kind::string, "The address to try; the host's own when not given."},
        {"path", Kind::string, "The path to get (http)."},
        {"argv", Kind::strings, "The program that answers with exit status 0 (command)."},
        {"timeout", Kind::duration, "How long to wait; default 60s."},
    }};

const Schema kLimits{"limits",
                     "Resource limits of a daemon.",
                     {
                         {"nofile", Kind::integer, "Open files."},
                         {"memory", Kind::integer, "Memory in bytes."},
                         {"tasks", Kind::integer, "Processes and threads."},
                     }};

const std::vector<Field> kDaemonFields = {
    {"argv", Kind::strings, "The program and its arguments; no shell.", true},
    {"user", Kind::string,
     "Runs as this user (a name or a number), with its groups. Default: the agent's."},
    {"group", Kind::string, "Runs with this group. Default: the user's."},
    {"environment", Kind::variables, "Environment variables."},
    {"environmentFile", Kind::path,
     "A file of NAME=VALUE lines, read at each start; for variables with secrets."},
    {"credentials", Kind::text_map,
     "By name: files that it gets as systemd credentials, in the folder CREDENTIALS_DIRECTORY."},
    {"folder", Kind::path, "Working directory."},
    {"readiness", Kind::object, "When it counts as ready.", false, &kReadiness},
    {"restart",
     Kind::string,
     "When the supervisor starts it again; default always.",
     false,
     nullptr,
     nullptr,
     {"always", "on-failure", "never"}},
    {"limits", Kind::object, "Resource limits.", false, &kLimits},
    {"stopSignal", Kind::string, "The signal that asks it to end; default SIGTERM."},
    {"stopTimeout", Kind::duration, "How long it may take to end before SIGKILL; default 30s."},
    {"writable", Kind::strings,
     "Paths that the hardened unit may write, beside its data and run folders."},
    {"hardening",
     Kind::string,
     "How far the unit is sandboxed; default strict.",
     false,
     nullptr,
     nullptr,
     {"strict", "none"}},
};

const Schema kDaemon{"daemon", "A service's own process.", kDaemonFields};

const Schema kHook{
    "hook",
    "A program that the agent runs at one step of a transition.",
    {
        {"path", Kind::path, "A script beside the site file; it travels with the site."},
        {"argv", Kind::strings, "A command line on the host, for example out of an artifact."},
        {"args", Kind::strings, "Arguments for the script at `path`."},
        {"timeout", Kind::duration,
         "After this it is killed, which counts as dirt left behind; default 5m."},
        {"idempotent", Kind::boolean,
         "May be run again after a crash (with the same CONSORT_TOKEN); default true."},
        {"scope",
         Kind::string,
         "`service`: once per service and rollout instead of once per instance.",
         false,
         nullptr,
         nullptr,
         {"instance", "service"}},
        {"backup",
         Kind::string,
         "Of the backup hook: `running` takes the snapshot before the service stops. It must then "
         "have a drain hook, and that must keep all writes out until undrain.",
         false,
         nullptr,
         nullptr,
         {"running", "stopped"}},
        {"onFailure",
         Kind::string,
         "Of the drain hook: `continue` goes on where it fails, also where the hook of the version "
         "that is left fails, and says so; default revert. A snapshot of a running service still "
         "needs it.",
         false,
         nullptr,
         nullptr,
         {"revert", "continue"}},
    },
    {"path", "argv"}};

const Schema kHooks{
    "hooks",
    "Programs for the steps of a transition.",
    {
        {"setup", Kind::object, "Before the first start on a host: make the data folder's content.",
         false, &kHook},
        {"start", Kind::object, "Starts the service, instead of `daemon`.", false, &kHook},
        {"stop", Kind::object, "Stops the service, instead of `daemon`.", false, &kHook},
        {"validate", Kind::object,
         "Exit status 0: this version works. Also asked regularly for health.", false, &kHook},
        {"drain", Kind::object, "Takes the instance out of use, before it stops.", false, &kHook},
        {"undrain", Kind::object, "Brings it back into use.", false, &kHook},
        {"backup", Kind::object, "Writes a snapshot of the data into CONSORT_SNAPSHOT (a folder).",
         false, &kHook},
        {"restore", Kind::object, "Brings the data back from CONSORT_SNAPSHOT.", false, &kHook},
        {"migrate", Kind::object,
         "Changes the data between two data versions; CONSORT_DIRECTION is up or down.", false,
         &kHook},
        {"contract", Kind::object,
         "With scope service: after the last instance has left the old version.", false, &kHook},
    }};

const Schema kAccess{
    "access",
    "Who may reach a port. The nearest word counts: the endpoint's, the service's, the site's.",
    {
        {"mode",
         Kind::string,
         "`enforce`: only hosts of services that declare the endpoint in needs or uses; `audit`: "
         "all, and strangers are told of; default off.",
         false,
         nullptr,
         nullptr,
         {"enforce", "audit", "off"}},
        {"also", Kind::strings,
         "IP addresses and networks (10.0.0.0/8) that may, too; those of endpoint, service and "
         "site add up."},
    }};

const Schema kEndpoint{
    "endpoint",
    "Something that a service offers to others.",
    {
        {"port", Kind::port, "The TCP port."},
        {"health", Kind::object, "How others can see that it works.", false, &kReadiness},
        {"access", Kind::object, "Who may reach it.", false, &kAccess},
        {"purpose", Kind::string, "What it is for."},
    }};

const Schema kNeed{
    "need",
    "An endpoint of another service: `c.endpoint('postgres', 'sql')`.",
    {
        {"service", Kind::name, "The service that offers it.", true},
        {"endpoint", Kind::name, "Which of its endpoints.", true},
        {"quorum", Kind::integer,
         "So many healthy instances suffice; default: all at the first start, one later."},
        {"onChange",
         Kind::string,
         "`ignore`: a change of its address does not restart this service.",
         false,
         nullptr,
         nullptr,
         {"restart", "ignore"}},
    }};

const Schema kArtifact{"artifact",
                       "Files that the service brings along.",
                       {
                           {"archive", Kind::path, "A tar or zip, unpacked on the host."},
                           {"folder", Kind::path, "A folder beside the site file."},
                           {"file", Kind::path, "One file."},
                       },
                       {"archive", "folder", "file"}};

const Schema kPolicy{
    "policy",
    "How a rollout may proceed.",
    {
        {"batches", Kind::amounts,
         "How many hosts of a class change at a time, the last entry repeats; default 100%."},
        {"maxUnavailable", Kind::some,
         "So many hosts of a class may be away at any moment; default 1, above ten hosts 10%."},
        {"maxFailures", Kind::amount,
         "So many hosts may fail or be unreachable before the rollout stops; default 0."},
        {"soak", Kind::duration,
         "A changed instance must stay healthy so long before the next batch; default 0s."},
        {"stepTimeout", Kind::duration, "An instance that takes longer has failed; default 15m."},
        {"onFailure",
         Kind::string,
         "Go back everywhere, or stop where it is; default revert.",
         false,
         nullptr,
         nullptr,
         {"revert", "halt"}},
        {"oneAtATime", Kind::string, "A label: only hosts of one of its values change at a time."},
        {"allowOutage", Kind::boolean, "Joint outages are allowed without asking; default false."},
    }};

const Schema kSecretSource{
    "secretSource",
    "Where the value of a secret comes from; `consort secret sync` gets it there.",
    {
        {"exec", Kind::strings,
         "A program that prints the value, on the operator's machine; relative paths start at the "
         "site file."},
        {"file", Kind::path,
         "A file beside the site file, as `consort secret encrypt` has written it."},
        {"timeout", Kind::duration, "How long the program may take; default 30s."},
        {"exact", Kind::boolean,
         "Keep a newline at the end of what the program prints; default false."},
        {"purpose", Kind::string, "What the secret is for."},
    },
    {"exec", "file"}};

const Schema kInventoryHost{
    "host",
    "One host of an inventory written in the site itself.",
    {
        {"address", Kind::string, "IP address or name; default: the host's name."},
        {"labels", Kind::text_map, "Labels."},
    }};

}  // namespace

const std::vector<Schema>& resource_schemas() {
  static const std::vector<Schema> table = {
      {"file", "A regular file.",
       with_resource_fields({
           {"path", Kind::path, "Where.", true},
           {"ensure",
            Kind::string,
            "Whether it is to be there; default present.",
            false,
            nullptr,
            nullptr,
            {"present", "absent"}},
           {"content", Kind::string, "The literal content; host placeholders are filled in."},
           {"source", Kind::path, "Copy of this file, usually ${artifact.NAME}/….", false},
           {"mode", Kind::octal, "Permission bits; a new file without it gets 0600."},
           {"owner", Kind::string, "User name or id."},
           {"group", Kind::string, "Group name or id."},
           {"replace",
            Kind::string,
            "`once`: only made when absent.",
            false,
            nullptr,
            nullptr,
            {"always", "once"}},
           {"validate", Kind::strings,
            "Runs on the new content (${new}) before it goes live; failure leaves the old one."},
           {"force", Kind::boolean, "Move aside what is in the way."},
       })},
      {"directory", "A folder, perhaps with content from an artifact.",
       with_resource_fields({
           {"path", Kind::path, "Where.", true},
           {"ensure",
            Kind::string,
            "Whether it is to be there; default present.",
            false,
            nullptr,
            nullptr,
            {"present", "absent"}},
           {"mode", Kind::octal, "Permission bits."},
           {"owner", Kind::string, "User name or id."},
           {"group", Kind::string, "Group name or id."},
           {"parents", Kind::boolean, "Make missing parents; default true."},
           {"tree", Kind::path, "An unpacked artifact whose content must be there."},
           {"recurse", Kind::boolean, "Owner and mode hold for everything below, too."},
           {"purge", Kind::boolean, "Remove what is not in `tree`. A way back brings it back."},
           {"exclude", Kind::strings, "Globs that purge and recurse leave alone."},
           {"maxPurge", Kind::integer, "Refuse to remove more than this; default 100."},
           {"force", Kind::boolean, "Move aside what is in the way."},
       })},
      {"symlink", "A symbolic link.",
       with_resource_fields({
           {"path", Kind::path, "Where.", true},
           {"target", Kind::string, "What it points to."},
           {"ensure",
            Kind::string,
            "Whether it is to be there; default present.",
            false,
            nullptr,
            nullptr,
            {"present", "absent"}},
           {"force", Kind::boolean, "Move aside what is in the way."},
       })},
      {"user", "A user account.",
       with_resource_fields({
           {"name", Kind::string, "The account.", true},
           {"ensure",
            Kind::string,
            "Whether it is to be there; default present.",
            false,
            nullptr,
            nullptr,
            {"present", "absent"}},
           {"uid", Kind::integer, "User id."},
           {"group", Kind::string, "Primary group."},
           {"groups", Kind::strings, "Further groups."},
           {"home", Kind::path, "Home directory."},
           {"shell", Kind::path, "Login shell."},
           {"system", Kind::boolean, "A system account."},
           {"comment", Kind::string, "GECOS field."},
       })},
      {"group", "A group.",
       with_resource_fields({
           {"name", Kind::string, "The group.", true},
           {"ensure",
            Kind::string,
            "Whether it is to be there; default present.",
            false,
            nullptr,
            nullptr,
            {"present", "absent"}},
           {"gid", Kind::integer, "Group id."},
           {"system", Kind::boolean, "A system group."},
       })},
      {"command", "A program that runs when its guard or inputs say so.",
       with_resource_fields({
           {"argv", Kind::strings, "The program and its arguments.", true},
           {"shell", Kind::boolean, "`argv` is one shell command line."},
           {"creates", Kind::path, "Runs only while this path is absent."},
           {"unless", Kind::strings, "Runs only when this program fails."},
           {"onlyIf", Kind::strings, "Runs only when this program succeeds."},
           {"inputs", Kind::strings, "Paths or globs; runs when their content has changed."},
           {"outputs", Kind::strings, "Paths that it makes; runs when one is absent or changed."},
           {"environment", Kind::variables, "Environment variables."},
           {"folder", Kind::path, "Working directory."},
           {"user", Kind::string,
            "Runs as this user (a name or a number), with its groups. Default: the agent's."},
           {"group", Kind::string, "Runs with this group. Default: the user's."},
           {"keptExit", Kind::integers, "Exit statuses that mean: nothing was changed."},
           {"repairedExit", Kind::integers, "Exit statuses that mean: changed; default 0."},
       })},
      {"daemon", "A process that runs under the supervisor.", with_resource_fields(kDaemonFields)},
  };
  return table;
}

const std::vector<Schema>& inventory_schemas() {
  static const std::vector<Schema> table = {
      {"file",
       "Hosts from a YAML or JSON file.",
       {
           {"type", Kind::string, "file", true},
           {"path", Kind::path, "Beside the site file.", true},
           {"group", Kind::name,
            "Which group of the file; default: the class's name when the file has groups."},
       }},
      {"exec",
       "Hosts printed by a program: our own JSON form, or Ansible's dynamic inventory.",
       {
           {"type", Kind::string, "exec", true},
           {"argv", Kind::strings, "The program; relative paths start at the site file.", true},
           {"group", Kind::name, "Which Ansible group; default: the class's name."},
           {"timeout", Kind::duration, "Default 30s."},
       }},
      {"http",
       "Hosts from a URL (JSON).",
       {
           {"type", Kind::string, "http", true},
           {"url", Kind::string, "http://…", true},
           {"group", Kind::name, "Which group of the answer."},
           {"timeout", Kind::duration, "Default 30s."},
       }},
      {"registry",
       "Hosts that the controller knows, by label.",
       {
           {"type", Kind::string, "registry", true},
           {"selector", Kind::selector, "Labels and facts: `role=web,datacenter in (dc1,dc2)`.",
            true},
       }},
      {"hosts",
       "Hosts written in the site itself.",
       {
           {"type", Kind::string, "hosts", true},
           {"hosts", Kind::map, "By name.", true, &kInventoryHost},
       }},
  };
  return table;
}

const Schema& host_class_schema() {
  static const Schema schema{
      "hostClass",
      "A role: the configuration that a group of hosts shares.",
      {
          {"inventory", Kind::tagged, "Where its hosts come from.", true, nullptr,
           &inventory_schemas()},
          {"min", Kind::integer, "An inventory with fewer hosts is an error; default 1."},
          {"labels", Kind::text_map, "Labels that all its hosts get."},
          {"purpose", Kind::string, "What these hosts are for."},
          {"owner", Kind::string, "Whose they are."},
          {"resources", Kind::tagged_map,
           "Configuration of its own: the class's base service `class:NAME`.", false, nullptr,
           &resource_schemas()},
          {"artifacts", Kind::map, "Files for these resources.", false, &kArtifact},
          {"hooks", Kind::object, "Hooks of the base service.", false, &kHooks},
      }};
  return schema;
}

const Schema& service_schema() {
  static const Schema schema{
      "service",
      "The unit of deployment.",
      {
          {"on", Kind::name, "The host class it runs on.", true},
          {"replicas", Kind::integer, "Runs on so many hosts of the class instead of on all."},
          {"when", Kind::selector, "Only on hosts of the class whose labels match."},
          {"needs", Kind::map, "Endpoints that must be healthy before this service starts.", false,
           &kNeed},
          {"uses", Kind::map, "Endpoints whose parameters it wants, without order; may be cyclic.",
           false, &kNeed},
          {"after", Kind::strings, "Services that come first; order only."},
          {"provides", Kind::map, "Endpoints it offers.", false, &kEndpoint},
          {"access", Kind::object, "Who may reach its endpoints.", false, &kAccess},
          {"version", Kind::string,
           "A label for people; a change of it is a new version, and an upgrade."},
          {"dataVersion", Kind::integer,
           "The version of its data on disk; a change runs backup and migrate. 0: no data."},
          {"purpose", Kind::string, "Why it exists."},
          {"owner", Kind::string, "Who answers for it."},
          {"artifacts", Kind::map,
           "Files it brings along: ${artifact.NAME} is where they are on the host.", false,
           &kArtifact},
          {"resources", Kind::tagged_map, "What must be true on its hosts.", false, nullptr,
           &resource_schemas()},
          {"daemon", Kind::object, "Its process. Without it, the hooks start and stop run it.",
           false, &kDaemon},
          {"hooks", Kind::object, "Programs for the steps of a transition.", false, &kHooks},
      }};
  return schema;
}

const Schema& site_schema() {
  static const Schema schema{
      "site",
      "The whole declared distributed system.",
      {
          {"name", Kind::name, "The site's name.", true},
          {"purpose", Kind::string, "What it is for."},
          {"hostClasses", Kind::map, "Roles of hosts.", true, &host_class_schema()},
          {"services", Kind::map, "What runs on them.", false, &service_schema()},
          {"policy", Kind::object, "How rollouts may proceed.", false, &kPolicy},
          {"access", Kind::object, "Who may reach the endpoints of services that do not say it.",
           false, &kAccess},
          {"secrets", Kind::map, "Where values of secrets come from; of others they are set.",
           false, &kSecretSource},
      }};
  return schema;
}

const std::vector<std::string_view>& static_service_fields() {
  static const std::vector<std::string_view> fields = {
      "on",       "replicas", "when",    "needs",       "uses",    "after",
      "provides", "access",   "version", "dataVersion", "purpose", "owner"};
  return fields;
}

const std::vector<std::string_view>& static_host_class_fields() {
  static const std::vector<std::string_view> fields = {"inventory", "min", "labels", "purpose",
                                                       "owner"};
  return fields;
}

}  // namespace consort::site
