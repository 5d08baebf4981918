#include "agent/shell.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <future>

#include <thread>

#include "agent/caretaker.h"
#include "agent/facts.h"
#include "agent/history.h"
#include "agent/outbox.h"
#include "agent/renewal.h"
#include "agent/supervisors/native.h"
#include "agent/supervisors/systemd.h"
#include "agent/target_poll.h"
#include "base/log.h"
#include "base/process.h"
#include "base/text.h"
#include "http/url.h"

namespace consort::agent {
namespace {

// The address of this host from which the controller is reached; loopback when there is none.
std::string address_towards(const std::string& url) {
  std::string otherwise = "127.0.0.1";
  const auto parsed = http::parse_url(url);
  if (!parsed) return otherwise;
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(parsed->at.host.c_str(), std::to_string(parsed->at.port).c_str(), &hints,
                    &found) != 0)
    return otherwise;
  // Connecting a datagram socket sends nothing; it only asks the routes.
  const Fd fd(::socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  const bool known = fd.valid() && ::connect(fd.get(), found->ai_addr, found->ai_addrlen) == 0 &&
                     ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own), &size) == 0;
  ::freeaddrinfo(found);
  std::array<char, NI_MAXHOST> text{};
  if (!known || ::getnameinfo(reinterpret_cast<sockaddr*>(&own), size, text.data(), text.size(),
                              nullptr, 0, NI_NUMERICHOST) != 0)
    return otherwise;
  return text.data();
}

Status make_layout(const fs::path& data) {
  TRYV(make_folders(data, 0755));
  TRYV(make_folders(data / "services", 0755));
  for (const char* name : {"state", "state/instances", "state/kept", "state/converge"})
    TRYV(make_folders(data / name, 0700));
  return {};
}

// What of it is known before the host has joined: where it keeps what.
Result<HostIdentity> find_places(const AgentOptions& options) {
  HostIdentity host;
  std::error_code ec;
  host.root = fs::canonical(options.root, ec);
  if (!ec && !fs::is_directory(host.root, ec))
    ec = std::make_error_code(std::errc::not_a_directory);
  if (ec)
    return fail(fail_errno(ec.value(), fmt::format("cannot use the root {}", options.root.string()))
                    .hint("--root names the folder that stands for /; leave it out for the machine "
                          "itself"));
  // No symlink may be in it: resources are never written through one.
  host.data = fs::canonical(options.data, ec);
  if (ec)
    return fail_errno(ec.value(),
                      fmt::format("cannot use the data folder {}", options.data.string()));
  return host;
}

// The rest, once it has its name.
Status introduce(const AgentOptions& options, HostIdentity& host) {
  host.facts = gather_facts(host.root);
  host.name = options.name.empty() ? host.facts["hostname"] : options.name;
  if (!is_name(host.name)) {
    return fail(ErrorCode::invalid_input, fmt::format("'{}' is no name for a host", host.name))
        .hint("letters, digits, '.', '_', '-'; at most 63: give one with --name");
  }
  host.address =
      options.address.empty() ? address_towards(options.controller_url) : options.address;
  host.labels.insert(options.labels.begin(), options.labels.end());
  return {};
}

Result<std::unique_ptr<Supervisor>> make_supervisor(const AgentOptions& options,
                                                    const HostIdentity& host) {
  const bool systemd = options.supervisor == SupervisorChoice::systemd ||
                       (options.supervisor == SupervisorChoice::automatic && systemd_is_running() &&
                        host.root == "/" && ::geteuid() == 0);
  if (systemd) return make_systemd_supervisor({host.data / "units"});
  return make_native_supervisor({host.data / "daemons", options.shim_argv});
}

// How this agent speaks to its controller, and who it is there.
struct Membership {
  Upstream upstream;
  std::shared_ptr<Identity> identity;  // null: plain http, or no controller
};

// Without TLS whoever can answer instructs this host: on this machine that is an experiment, and
// never what one asks for who has a token or has joined.
Status check_plain(const AgentOptions& options, const fs::path& identity) {
  const http::Url url = TRY(http::parse_url(options.controller_url));
  std::error_code ec;
  const bool joined = fs::exists(identity / "host.pem", ec);
  if (http::is_loopback(url.at.host) && options.join_token.empty() && !joined) return {};
  return fail(ErrorCode::refused,
              fmt::format("{}: {}", options.controller_url,
                          !options.join_token.empty() ? "a join token is for https://"
                          : joined ? "this host has joined a site, and speaks TLS with it"
                                   : "without TLS a controller must be on this machine"))
      .hint(fmt::format("say https://{}", url.authority()));
}

Result<Membership> take_part(AgentOptions& options, const std::function<bool(Duration)>& stopped) {
  const fs::path folder = options.data / "identity";
  if (options.controller_url.starts_with("http://")) {
    TRYV(check_plain(options, folder));
    log_warn("{}: no TLS; whoever can answer there instructs this host", options.controller_url);
    return Membership{{options.controller_url, nullptr}, nullptr};
  }
  auto identity = Identity::open(folder, options.controller_url);
  if (!identity && identity.error().code() == ErrorCode::not_found) {
    if (options.controller_url.empty() && options.join_token.empty()) return Membership{};
    if (options.join_token.empty() || options.controller_url.empty())
      return fail(std::move(identity).error());
    auto facts = gather_facts(options.root);
    identity = Identity::join(
        folder,
        {options.join_token, options.controller_url,
         options.name.empty() ? facts["hostname"] : options.name, facts["machine.id"]},
        stopped ? stopped : [](Duration wait) {
          std::this_thread::sleep_for(wait);
          return false;
        });
    if (identity) log_info("joined {} as {}", (*identity)->controller(), (*identity)->name());
  }
  if (!identity && identity.error().code() == ErrorCode::corrupt) {
    // What runs here must not suffer: it is kept as it was last told.
    log_error("{}; going on without the controller", identity.error().message());
    options.controller_url.clear();
    return Membership{};
  }
  if (!identity) return fail(std::move(identity).error());
  if (!options.name.empty() && options.name != (*identity)->name())
    return fail(ErrorCode::refused, fmt::format("this host joined as '{}', not as '{}'",
                                                (*identity)->name(), options.name))
        .hint(fmt::format("leave --name out; or, to join anew, remove {} and give a new token",
                          folder.string()));
  options.name = (*identity)->name();
  if (options.controller_url.empty()) options.controller_url = (*identity)->controller();
  return Membership{{options.controller_url, (*identity)->tls()}, std::move(*identity)};
}

// A hook that an agent was just starting when it was killed holds its lock for a moment more, until
// it has become its own program.
Result<FileLock> acquire_lock(const fs::path& data) {
  const std::string what = fmt::format("the agent's data folder {}", data.string());
  auto lock = FileLock::acquire(data / "lock", what);
  for (int tries = 0; !lock && tries < 20; ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    lock = FileLock::acquire(data / "lock", what);
  }
  return lock;
}

}  // namespace

Result<SupervisorChoice> supervisor_choice_from_name(std::string_view name) {
  if (name == "auto") return SupervisorChoice::automatic;
  if (name == "systemd") return SupervisorChoice::systemd;
  if (name == "native") return SupervisorChoice::native;
  return fail(ErrorCode::invalid_input, fmt::format("there is no supervisor '{}'", name))
      .hint("auto, systemd or native");
}

struct Agent::Impl {
  Impl(AgentOptions given, Membership part, FileLock held, Workshop made)
      : options(std::move(given)),
        membership(std::move(part)),
        lock(std::move(held)),
        workshop(std::move(made)),
        history(workshop.host.data / "history.jsonl",
                Outbox::last_delivered(workshop.host.data / "delivered")) {}

  AgentOptions options;
  Membership membership;
  FileLock lock;
  SystemClock clock;
  Workshop workshop;
  History history;
  http::EventLoop loop;
  std::unique_ptr<Caretaker> caretaker;
  std::unique_ptr<Outbox> outbox;
  std::unique_ptr<Renewal> renewal;
  std::unique_ptr<TargetPoll> poll;
  bool stopped = false;

  // Runs it on the loop and waits for its result; `unavailable` when the loop ends first.
  Status on_loop(const std::function<Status()>& function) {
    auto promise = std::make_shared<std::promise<Status>>();
    auto future = promise->get_future();
    loop.post([promise, function] { promise->set_value(function()); });
    promise.reset();
    try {
      return future.get();
    } catch (const std::future_error&) {
      return fail(ErrorCode::unavailable, "the agent is ending");
    }
  }

  Status begin(Trust trust) {
    workshop.record = [this](Json event) { history.append(event); };
    workshop.note = [this](Json event) {
      history.append(event);
      if (outbox) outbox->event(std::move(event));
    };
    const std::string& url = options.controller_url;
    if (!url.empty()) {
      const fs::path delivered = workshop.host.data / "delivered";
      outbox = TRY(
          Outbox::create(membership.upstream, delivered,
                         history.after(Outbox::last_delivered(delivered), Outbox::kMostEvents)));
    }
    Core core = TRY(Core::restore(
        TRY(Caretaker::load(workshop.host.data / "state", [this](const std::string& damage) {
          log_error("{}", damage);
          workshop.note(make_event(SystemClock().now(), "damaged", "", "", damage));
        }))));
    caretaker =
        std::make_unique<Caretaker>(workshop, loop, std::move(core), std::move(trust),
                                    options.health_interval, [this](plan::HostReport report) {
                                      if (outbox) outbox->state(std::move(report));
                                    });
    workshop.supervisor->on_state_change([this](const std::string& name) {
      loop.post([this, name] { caretaker->on_daemon(name); });
    });
    loop.start();
    TRYV(on_loop([this] { return caretaker->begin(); }));
    if (url.empty()) return {};
    TargetPoll::Callbacks callbacks;
    callbacks.position = [this] { return caretaker->position(); };
    callbacks.take = [this](const plan::Target& target) {
      return on_loop([this, &target] { return caretaker->on_target(target); });
    };
    callbacks.connected = [this] {
      outbox->resend();
      workshop.secrets->on_connected();
      loop.post([this] { caretaker->on_connected(); });
    };
    callbacks.asking = [this] { workshop.secrets->tell_key(); };
    if (membership.identity) {
      renewal = std::make_unique<Renewal>(membership.identity, clock);
      callbacks.refused = [this] { renewal->refused(); };
    }
    poll = TRY(TargetPoll::create(membership.upstream, workshop.host.name, std::move(callbacks)));
    return {};
  }

  bool stop() {
    if (std::exchange(stopped, true)) return true;
    workshop.secrets->cancel();
    if (poll) poll->stop();
    if (renewal) renewal->stop();
    const bool done = !caretaker || caretaker->close(options.stop_grace);
    workshop.supervisor->on_state_change({});
    if (outbox) outbox->stop();
    loop.stop();
    return done;
  }
};

Agent::Agent(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Agent::~Agent() { impl_->stop(); }
bool Agent::stop() { return impl_->stop(); }
const std::string& Agent::name() const { return impl_->workshop.host.name; }

Result<std::unique_ptr<Agent>> Agent::start(AgentOptions options,
                                            const std::function<bool(Duration)>& stopped) {
  if (options.data.empty())
    return fail(ErrorCode::invalid_input, "the agent needs a folder for its data")
        .hint("--data /var/lib/consort");
  TRYV(make_layout(options.data));
  FileLock lock = TRY(acquire_lock(options.data));
  // Before a token is used up for a start that comes to nothing.
  Trust trust = TRY(Trust::open(options.data, options.trust));
  HostIdentity host = TRY(find_places(options));
  const fs::path data = host.data;
  objects::ObjectStore store = TRY(objects::ObjectStore::open(data / "objects"));
  objects::ObjectStore backups = TRY(objects::ObjectStore::open(data / "backups"));
  auto supervisor = TRY(make_supervisor(options, host));
  Membership membership = TRY(take_part(options, stopped));
  TRYV(introduce(options, host));
  auto nothing = [](const Json&) {};
  const std::string name = host.name;
  Workshop workshop{std::move(host),
                    options.confirm_time,
                    options.fetch_patience,
                    std::move(store),
                    std::move(backups),
                    std::move(supervisor),
                    nullptr,
                    TRY(Secrets::open(data / "secrets", membership.upstream, name, trust.list())),
                    KeptFiles(data / "state/kept"),
                    nothing,
                    nothing};
  workshop.firewall = options.firewall;
  auto impl = std::make_unique<Impl>(std::move(options), std::move(membership), std::move(lock),
                                     std::move(workshop));
  // Only now: it keeps a reference to the store at its final place.
  impl->workshop.fetcher = TRY(Fetcher::create(impl->membership.upstream, impl->workshop.store));
  auto agent = std::unique_ptr<Agent>(new Agent(std::move(impl)));
  TRYV(agent->impl_->begin(std::move(trust)));
  log_info("agent {} ({}) keeps this host; data in {}", agent->name(),
           agent->impl_->workshop.host.address, data.string());
  return agent;
}

Status run_agent(AgentOptions options) {
  forbid_core_dumps();
  std::promise<int> signalled;
  const std::shared_future<int> stopping = signalled.get_future().share();
  std::atomic<bool> once = false;
  http::EventLoop signals;
  signals.on_signal([&](int number) {
    if (!once.exchange(true)) signalled.set_value(number);
  });
  signals.start();
  auto agent = TRY(Agent::start(std::move(options), [stopping](Duration wait) {
    return stopping.wait_for(wait) == std::future_status::ready;
  }));
  stopping.wait();
  log_info("agent {} ends; its services go on", agent->name());
  // A worker that hangs in the kernel or waits for a daemon must not keep the agent from ending:
  // what it did is in the journal.
  if (!agent->stop()) ::_exit(0);
  return {};
}

}  // namespace consort::agent
