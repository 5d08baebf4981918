#include "platform/lab.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "base/digest.h"
#include "base/json_reader.h"
#include "base/process.h"
#include "base/text.h"

namespace consort::platform {
namespace {

constexpr int kFirstHost = 11;
constexpr int kMostHosts = 200;
constexpr Duration kAgentPatience = seconds(60);

std::atomic<bool> interrupted{false};

Status check_interrupted() {
  if (interrupted)
    return fail(ErrorCode::interrupted, "stopped; everything that was made is removed");
  return {};
}

LabIdentity identity_of(const fs::path& folder, const fs::path& self) {
  // weakly_canonical() leaves a relative path that does not exist as it is, and labs in two places
  // must differ.
  const fs::path absolute = fs::weakly_canonical(fs::absolute(folder));
  const std::string hash = Digest::of(absolute.string()).str().substr(7);
  return {hash.substr(0, 8), absolute, self,
          1 + static_cast<int>(std::stoul(hash.substr(8, 4), nullptr, 16) % 250)};
}

bool is_free(const std::string& address, int port) {
  const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int yes = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<std::uint16_t>(port));
  ::inet_pton(AF_INET, address.c_str(), &at.sin_addr);
  return ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0;
}

std::string inventory_of(const std::vector<LabHost>& hosts) {
  std::map<std::string, std::string> groups;
  for (const LabHost& host : hosts) {
    groups[host.host_class] += fmt::format("      {}: {{ address: {}, labels: {{ role: {} }} }}\n",
                                           host.spec.name, host.spec.address, host.host_class);
  }
  std::string out = "# The hosts of this lab.\ngroups:\n";
  for (const auto& [name, lines] : groups) out += fmt::format("  {}:\n    hosts:\n{}", name, lines);
  return out;
}

}  // namespace

Result<std::vector<std::pair<std::string, int>>> parse_classes(std::string_view text) {
  std::vector<std::pair<std::string, int>> out;
  int total = 0;
  const auto bad = [&](const std::string& why) {
    return fail(ErrorCode::invalid_input, fmt::format("--hosts '{}': {}", text, why))
        .hint("for example --hosts lb=1,web=2,db=1");
  };
  for (const std::string& part : split(text, ',')) {
    const std::vector<std::string> sides = split(part, '=');
    if (sides.size() != 2 || !is_name(sides[0]) || sides[0].size() > 20)
      return bad(fmt::format("'{}' is not CLASS=COUNT", part));
    if (sides[0] == "controller") return bad("'controller' is the name of the controller");
    const bool number = !sides[1].empty() && sides[1].size() <= 3 &&
                        sides[1].find_first_not_of("0123456789") == std::string::npos;
    const int count = number ? std::stoi(sides[1]) : 0;
    if (count < 1)
      return bad(fmt::format("'{}' is no number of hosts from 1 to {}", sides[1], kMostHosts));
    for (const auto& [name, n] : out) {
      if (name == sides[0]) return bad(fmt::format("'{}' is there twice", name));
    }
    total += count;
    out.emplace_back(sides[0], count);
  }
  if (total > kMostHosts) return bad(fmt::format("{} hosts are more than {}", total, kMostHosts));
  return out;
}

Lab::Lab(LabIdentity identity, std::string platform_name)
    : identity_(std::move(identity)),
      platform_name_(std::move(platform_name)),
      platform_(make_platform(platform_name_, identity_)) {}

void Lab::interrupt() { interrupted = true; }

std::string Lab::controller_url() const {
  return fmt::format("https://{}:{}", platform_->address(1), kControllerPort);
}

Result<Lab> Lab::up(const LabRequest& request, const Tell& tell) {
  LabIdentity identity = identity_of(request.folder, request.self);
  std::error_code error;
  if (fs::exists(identity.folder / "lab.json", error)) {
    return fail(ErrorCode::conflict, fmt::format("there is a lab in {}", identity.folder.string()))
        .hint(fmt::format("remove it with: consort lab down --dir {}", identity.folder.string()));
  }
  for (const char* part : {"hosts", "controller"}) {
    if (fs::exists(identity.folder / part, error))
      return fail(ErrorCode::conflict,
                  fmt::format("{} is there already", (identity.folder / part).string()))
          .hint("choose a folder that is empty or does not exist");
  }
  const Choice choice = TRY(choose_platform(request.platform));
  // What runs of an earlier lab whose folder was removed under it.
  kill_marked(fmt::format("{}={}", kMemberVariable, identity.id));
  tell(fmt::format("platform {} ({})", choice.name, choice.why));
  if (choice.name == "process") {
    // Another lab, or something else, may have these addresses.
    for (int tries = 0;
         tries < 250 && !is_free(fmt::format("127.77.{}.1", identity.number), kControllerPort);
         ++tries)
      identity.number = 1 + identity.number % 250;
  }
  TRYV(make_folders(identity.folder));
  Lab lab(std::move(identity), choice.name);
  lab.why_ = choice.why;
  int next = kFirstHost;
  for (const auto& [host_class, count] : request.classes) {
    for (int i = 1; i <= count; ++i)
      lab.hosts_.push_back(
          {{fmt::format("{}{}", host_class, i), lab.platform_->address(next++)}, host_class});
  }
  if (Status built = lab.build(tell); !built) {
    if (Status removed = down(lab.folder(), lab.identity_.self); !removed)
      return fail(std::move(built.error())).context(removed.error().message());
    return fail(std::move(built.error()));
  }
  return lab;
}

Status Lab::build(const Tell& tell) {
  // First of all, so that `lab down` knows what to remove whatever happens next.
  TRYV(save());
  TRYV(platform_->prepare(tell));
  TRYV(check_interrupted());
  TRYV(write_file_atomic(inventory(), inventory_of(hosts_)));
  TRYV(initialise_controller());
  TRYV(start_controller());
  const std::string token = TRY(join_token());
  for (LabHost& host : hosts_) {
    host.spec.join_token = token;
    TRYV(check_interrupted());
    TRYV(platform_->create(host.spec));
  }
  // Hosts boot side by side: most of a boot is waiting.
  std::vector<std::thread> threads;
  std::vector<Status> results(hosts_.size());
  for (std::size_t i = 0; i < hosts_.size(); ++i)
    threads.emplace_back([&, i] { results[i] = platform_->start(hosts_[i].spec); });
  for (std::thread& thread : threads) thread.join();
  for (Status& result : results) TRYV(std::move(result));
  return wait_for_agents();
}

Status Lab::start_controller() const {
  const Keeper keeper = controller_keeper();
  const fs::path data = identity_.folder / "controller" / "data";
  TRYV(make_folders(data));
  std::vector<std::string> argv = {identity_.self.string(),
                                   "controller",
                                   "--data",
                                   data.string(),
                                   "--listen",
                                   fmt::format("{}:{}", platform_->address(1), kControllerPort)};
  Keep keep;
  keep.argv = platform_->inside_argv(argv);
  keep.environment = {{kMemberVariable, identity_.id}};
  TRYV(keeper.start(identity_.self, keep));
  for (int tries = 0; tries < 200; ++tries) {
    TRYV(check_interrupted());
    if (ask({"context", "show"})) return {};
    if (!keeper.running()) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return fail(ErrorCode::unavailable,
              fmt::format("the controller does not start:\n{}", keeper.last_words()))
      .hint(fmt::format("see {}", keeper.log_file().string()));
}

Status Lab::wait_for_agents() const {
  const auto deadline = std::chrono::steady_clock::now() + kAgentPatience;
  std::string missing;
  while (std::chrono::steady_clock::now() < deadline) {
    TRYV(check_interrupted());
    missing.clear();
    const auto answer = ask({"host", "list"});
    std::map<std::string, bool> known;
    if (answer) {
      if (const Json* list = answer->find("hosts"); list != nullptr && list->is_array()) {
        for (const Json& host : list->as_array())
          known[host.string_or("name")] = host.bool_or("reachable");
      }
    }
    for (const LabHost& host : hosts_) {
      if (!known[host.spec.name]) missing += (missing.empty() ? "" : ", ") + host.spec.name;
    }
    if (missing.empty()) return {};
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return fail(ErrorCode::timeout, fmt::format("no report came from {} within {}", missing,
                                              human_duration(kAgentPatience)));
}

Result<Json> Lab::ask(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), identity_.self.string());
  arguments.emplace_back("--json");
  ProcessSpec spec;
  spec.argv = inside_argv(arguments);
  spec.timeout = seconds(15);
  const ProcessOutcome outcome = TRY(run_process(spec));
  if (outcome.ok()) return parse_json(outcome.output, "what consort prints");
  return fail(ErrorCode::unavailable,
              fmt::format("{}: {}", quote_argv(arguments),
                          trim(outcome.output.empty() ? outcome.errors : outcome.output)));
}

Status Lab::initialise_controller() const {
  const fs::path data = identity_.folder / "controller" / "data";
  TRYV(make_folders(data, 0700));
  ProcessSpec spec;
  spec.argv = {identity_.self.string(),
               "controller",
               "init",
               "--data",
               data.string(),
               "--name",
               "lab",
               "--partition",
               "lab",
               "--address",
               platform_->address(1),
               "--url",
               controller_url(),
               "--context-file",
               credentials().string()};
  const ProcessOutcome outcome = TRY(run_process(spec));
  if (outcome.ok()) return {};
  return fail(ErrorCode::io,
              fmt::format("the lab's authority is not made: {}", trim(outcome.errors)));
}

// One token for all hosts; each presents it once.
Result<std::string> Lab::join_token() const {
  const Json answer =
      TRY(ask({"token", "create", "--ttl", "1h", "--uses", std::to_string(hosts_.size())}));
  return answer.string_or("token");
}

Status Lab::save() const {
  Json hosts = Json::array();
  for (const LabHost& host : hosts_)
    hosts.push_back(Json::object(
        {{"name", host.spec.name}, {"address", host.spec.address}, {"class", host.host_class}}));
  const Json json = Json::object({{"lab", identity_.id},
                                  {"platform", platform_name_},
                                  {"why", why_},
                                  {"number", identity_.number},
                                  {"hosts", hosts}});
  return write_file_atomic(identity_.folder / "lab.json", json.dump() + "\n");
}

Result<Lab> Lab::open(const fs::path& folder, const fs::path& self) {
  LabIdentity identity = identity_of(folder, self);
  const fs::path file = identity.folder / "lab.json";
  auto text = read_file(file);
  if (!text)
    return fail(ErrorCode::not_found,
                fmt::format("there is no lab in {}", identity.folder.string()))
        .hint(
            "make one with: consort lab up --hosts web=2,db=1 --dir DIR; or say where it is with "
            "--dir");
  const Json json = TRY(parse_json(*text, file.string()));
  JsonReader reader(json, "");
  (void)reader.string("lab");
  const std::string platform = reader.string("platform");
  const std::string why = reader.string("why");
  identity.number = static_cast<int>(reader.integer("number", std::nullopt, 1, 250));
  if (make_platform(platform, identity) == nullptr)
    return fail(ErrorCode::corrupt,
                fmt::format("{}: there is no platform '{}'", file.string(), platform))
        .hint(fmt::format("consort lab down --dir {}", identity.folder.string()));
  Lab lab(std::move(identity), platform);
  lab.why_ = why;
  for (const Json& item : reader.array("hosts")) {
    const LabHost host{{item.string_or("name"), item.string_or("address")},
                       item.string_or("class")};
    if (!is_name(host.spec.name))
      return fail(ErrorCode::corrupt,
                  fmt::format("{}: '{}' is no name of a host", file.string(), host.spec.name));
    lab.hosts_.push_back(host);
  }
  TRYV(reader.finish());
  return lab;
}

Status Lab::down(const fs::path& folder, const fs::path& self) {
  const LabIdentity identity = identity_of(folder, self);
  // Whatever lab.json says: what belongs to the lab bears its id or lies in its folder. Without
  // root there can be no parts of the nspawn platform.
  const std::string mark = fmt::format("{}={}", kMemberVariable, identity.id);
  const bool runs = !marked_with(mark).empty();
  kill_marked(mark);
  std::error_code ignored;
  const bool ours = fs::exists(identity.folder / "lab.json", ignored);
  TRYV((::geteuid() == 0 ? make_nspawn_platform(identity) : make_process_platform(identity))
           ->destroy());
  // Without lab.json it is somebody else's folder: its files stay. What ran of a lab whose folder
  // was removed under it has been ended.
  if (!ours && runs) return {};
  if (!ours)
    return fail(ErrorCode::not_found,
                fmt::format("there is no lab in {}", identity.folder.string()))
        .hint("say where it is: consort lab down --dir DIR");
  for (const char* part : {"hosts", "controller", "hosts.yaml", "admin.json", "lab.json"})
    TRYV(remove_tree(identity.folder / part));
  fs::remove(identity.folder, ignored);  // only when nothing else is in it
  return {};
}

Result<HostSpec> Lab::host(const std::string& name) const {
  std::vector<std::string> names;
  for (const LabHost& host : hosts_) {
    if (host.spec.name == name) return host.spec;
    names.push_back(host.spec.name);
  }
  const std::string guess = did_you_mean(name, names);
  return fail(ErrorCode::not_found, fmt::format("this lab has no host '{}'", name))
      .hint(guess.empty() ? fmt::format("it has {}", join(names, ", "))
                          : fmt::format("did you mean '{}'?", guess));
}

Status Lab::act(Verb verb, const std::string& name) {
  if (name == "controller" && verb == Verb::start) return start_controller();
  if (name == "controller" && verb == Verb::kill) {
    controller_keeper().kill();
    return {};
  }
  if (name == "controller" && verb == Verb::stop) {
    controller_keeper().stop();
    return {};
  }
  const HostSpec spec = TRY(host(name));
  switch (verb) {
    case Verb::start:
      return platform_->start(spec);
    case Verb::stop:
      return platform_->stop(spec);
    case Verb::kill:
      return platform_->kill(spec);
    case Verb::reboot:
      return platform_->reboot(spec);
    case Verb::cut:
      return platform_->cut(spec);
    case Verb::heal:
      return platform_->heal(spec);
  }
  return {};
}

Result<std::vector<std::string>> Lab::exec_argv(const std::string& name,
                                                const std::vector<std::string>& argv) const {
  return platform_->exec_argv(TRY(host(name)), argv);
}

std::vector<std::string> Lab::inside_argv(const std::vector<std::string>& argv) const {
  std::vector<std::string> with = {"env", "CONSORT_CONTROLLER=" + controller_url(),
                                   "CONSORT_CONTEXT=" + credentials().string(),
                                   "CONSORT_LAB=" + identity_.folder.string()};
  // What is typed as `consort` there is the program that made the lab, also where it is not
  // installed.
  if (identity_.self.is_absolute() && identity_.self.filename() == "consort") {
    const char* path = std::getenv("PATH");
    with.push_back("PATH=" + identity_.self.parent_path().string() + ":" +
                   (path == nullptr || *path == '\0' ? "/usr/bin:/bin" : path));
  }
  with.insert(with.end(), argv.begin(), argv.end());
  return platform_->inside_argv(with);
}

Json Lab::describe() const {
  Json hosts = Json::array();
  for (const LabHost& host : hosts_) {
    hosts.push_back(Json::object({{"name", host.spec.name},
                                  {"class", host.host_class},
                                  {"address", host.spec.address},
                                  {"running", platform_->runs(host.spec)},
                                  {"kept", platform_->kept(host.spec)},
                                  {"cut", platform_->is_cut(host.spec)}}));
  }
  const Keeper keeper = controller_keeper();
  const bool kept = keeper.running();
  return Json::object({{"lab", identity_.id},
                       {"platform", platform_name_},
                       {"why", why_},
                       {"folder", identity_.folder.string()},
                       {"context", credentials().string()},
                       {"controller", Json::object({{"url", controller_url()},
                                                    {"running", kept || keeper.lost()},
                                                    {"kept", kept}})},
                       {"inventory", inventory().string()},
                       {"hosts", hosts}});
}

}  // namespace consort::platform
