#include "agent/supervisors/systemd.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "agent/supervisors/process_facts.h"
#include "agent/supervisors/unit_file.h"
#include "base/log.h"
#include "base/text.h"

namespace consort::agent {
namespace {

// Between an end and the start after it a unit is inactive for less.
constexpr Duration kMoment(500);
constexpr int kMostReads = 5;
constexpr const char* kService = "org.freedesktop.systemd1";
constexpr const char* kManagerPath = "/org/freedesktop/systemd1";
constexpr const char* kManager = "org.freedesktop.systemd1.Manager";
constexpr const char* kUnit = "org.freedesktop.systemd1.Unit";
constexpr const char* kServiceUnit = "org.freedesktop.systemd1.Service";

struct BusCloser {
  void operator()(sd_bus* bus) const { sd_bus_flush_close_unref(bus); }
};
using Bus = std::unique_ptr<sd_bus, BusCloser>;

struct MessageCloser {
  void operator()(sd_bus_message* message) const { sd_bus_message_unref(message); }
};
using Message = std::unique_ptr<sd_bus_message, MessageCloser>;

// The system bus, or systemd's own socket on hosts without a bus daemon (root only).
Result<Bus> connect_bus() {
  sd_bus* bus = nullptr;
  if (sd_bus_open_system(&bus) >= 0) return Bus(bus);
  int r = sd_bus_new(&bus);
  if (r >= 0) {
    Bus owned(bus);
    r = sd_bus_set_address(bus, "unix:path=/run/systemd/private");
    if (r >= 0) r = sd_bus_start(bus);
    if (r >= 0) return owned;
  }
  return fail(ErrorCode::unavailable, "systemd cannot be reached over D-Bus")
      .hint("is systemd the init system here, and is the agent root?");
}

Failure bus_failure(int r, const sd_bus_error& error, const std::string& what) {
  const std::string why = error.message != nullptr
                              ? error.message
                              : std::string(std::error_code(-r, std::generic_category()).message());
  return fail(ErrorCode::io, fmt::format("{}: {}", what, why));
}

class BusError {
 public:
  BusError() = default;
  BusError(const BusError&) = delete;
  BusError& operator=(const BusError&) = delete;
  ~BusError() { sd_bus_error_free(&error); }
  sd_bus_error error{};  // what SD_BUS_ERROR_NULL is, without a compound literal of C
};

std::int64_t monotonic_micros() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000 + now.tv_nsec / 1000;
}

// Ends of jobs by their path, filled by the match below.
using Ended = std::map<std::string, std::string>;

int on_job_removed(sd_bus_message* message, void* userdata, sd_bus_error* /*error*/) {
  std::uint32_t id = 0;
  const char* job = nullptr;
  const char* unit = nullptr;
  const char* result = nullptr;
  if (sd_bus_message_read(message, "uoss", &id, &job, &unit, &result) >= 0)
    (*static_cast<Ended*>(userdata))[job] = result;
  return 0;
}

int on_properties_changed(sd_bus_message* message, void* userdata, sd_bus_error* /*error*/) {
  char* unit = nullptr;
  const char* path = sd_bus_message_get_path(message);
  if (path != nullptr && sd_bus_path_decode(path, "/org/freedesktop/systemd1/unit", &unit) > 0) {
    const std::string_view name(unit);
    if (name.starts_with("consort-") && name.ends_with(".service")) {
      static_cast<std::set<std::string>*>(userdata)->emplace(name.substr(8, name.size() - 16));
    }
  }
  std::free(unit);  // NOLINT(cppcoreguidelines-no-malloc): sd-bus gave it
  return 0;
}

class SystemdSupervisor final : public Supervisor {
 public:
  explicit SystemdSupervisor(SystemdOptions options) : options_(std::move(options)) {}
  ~SystemdSupervisor() override {
    watcher_.request_stop();
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = ::write(wake_.get(), &one, sizeof one);
    if (watcher_.joinable()) watcher_.join();
  }

  Status begin() {
    TRYV(make_folders(options_.state_folder, 0700));
    TRYV(make_folders(options_.unit_folder));
    wake_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    bus_ = TRY(connect_bus());
    TRYV(call(bus_.get(), "Subscribe"));
    if (sd_bus_match_signal(bus_.get(), nullptr, nullptr, kManagerPath, kManager, "JobRemoved",
                            &on_job_removed, &ended_) < 0) {
      return fail(ErrorCode::io, "cannot listen to systemd's jobs");
    }
    signal_bus_ = TRY(connect_bus());
    TRYV(call(signal_bus_.get(), "Subscribe"));
    if (sd_bus_match_signal(signal_bus_.get(), nullptr, nullptr, nullptr,
                            "org.freedesktop.DBus.Properties", "PropertiesChanged",
                            &on_properties_changed, &changed_) < 0) {
      return fail(ErrorCode::io, "cannot listen to systemd's units");
    }
    watcher_ = std::jthread([this](const std::stop_token& stop) { watch(stop); });
    return {};
  }

  Result<EnsureOutcome> ensure(const DaemonSpec& spec) override {
    if (!is_name(spec.name))
      return fail(ErrorCode::invalid_input, fmt::format("'{}' is no name for a daemon", spec.name));
    const std::string text = TRY(render_unit(spec));
    const std::lock_guard lock(mutex_);
    const std::string unit = unit_name(spec.name);
    if (read_file(unit_path(spec.name), 1U << 20U).value_or("") != text || loaded_at(spec.name) < 0)
      TRYV(install(spec.name, text));
    const bool active = TRY(property_string(unit, kUnit, "ActiveState")) == "active";
    if (active && running_digest(spec.name) == spec.config_digest) return EnsureOutcome::kept;
    // A unit that failed before may be started anew.
    [[maybe_unused]] const Status reset = call(bus_.get(), "ResetFailedUnit", "s", unit.c_str());
    note_launch(spec.name);
    TRYV(run_job(active ? "RestartUnit" : "StartUnit", spec.name,
                 seconds(10) + spec.readiness.timeout + spec.stop_timeout));
    return active ? EnsureOutcome::restarted : EnsureOutcome::started;
  }

  Status stop(const std::string& name, Duration timeout) override {
    const std::lock_guard lock(mutex_);
    if (TRY(property_string(unit_name(name), kUnit, "LoadState")) == "not-found") return {};
    return run_job("StopUnit", name, timeout + seconds(10));
  }

  // Its properties are read one by one, and one that ends and starts again changes between them:
  // what was read before and after a change is no state that ever was.
  Result<DaemonStatus> status(const std::string& name) override {
    const std::lock_guard lock(mutex_);
    const auto changed = [&] {
      return property<std::uint64_t>(unit_name(name), kUnit, "StateChangeTimestampMonotonic", 't');
    };
    for (int tries = 1;; ++tries) {
      const std::uint64_t before = changed();
      DaemonStatus out = TRY(read_status(name));
      if (changed() == before || tries == kMostReads) return out;
    }
  }

  Result<DaemonStatus> read_status(const std::string& name) {
    const std::string unit = unit_name(name);
    DaemonStatus out;
    out.known = TRY(property_string(unit, kUnit, "LoadState")) == "loaded";
    if (!out.known) return out;
    const std::string active = TRY(property_string(unit, kUnit, "ActiveState"));
    out.running = active == "active";
    out.ready = out.running;
    out.since = from_millis(static_cast<std::int64_t>(
        property<std::uint64_t>(unit, kUnit, "StateChangeTimestamp", 't') / 1000));
    out.restarts = property<std::uint32_t>(unit, kServiceUnit, "NRestarts", 'u');
    if (out.running)
      out.pid = static_cast<pid_t>(property<std::uint32_t>(unit, kServiceUnit, "MainPID", 'u'));
    const auto code = property<std::int32_t>(unit, kServiceUnit, "ExecMainCode", 'i');
    const auto exit_status = property<std::int32_t>(unit, kServiceUnit, "ExecMainStatus", 'i');
    // Between an end and the start after it a unit is inactive for a moment.
    out.supervised = active != "failed" && (active != "inactive" || code != 0);
    out.stopped = active == "inactive" && code != 0 && SystemClock().now() - out.since > kMoment;
    if (code != 0) out.exit_status = code == CLD_EXITED ? exit_status : 128 + exit_status;
    out.config_digest = out.running
                            ? running_digest(name)
                            : digest_in_unit(read_file(unit_path(name), 1U << 20U).value_or(""));
    return out;
  }

  Status remove(const std::string& name) override {
    if (!is_name(name))
      return fail(ErrorCode::invalid_input, fmt::format("'{}' is no name for a daemon", name));
    TRYV(stop(name, seconds(60)));
    const std::lock_guard lock(mutex_);
    // systemd refuses to disable what is not there, for instance after a start that never came to
    // be.
    std::error_code absent;
    if (fs::exists(unit_path(name), absent)) TRYV(change_unit_files("DisableUnitFiles", name));
    TRYV(remove_tree(unit_path(name)));
    TRYV(remove_tree(record_path(name)));
    return call(bus_.get(), "Reload");
  }

  Status guard_boot(const std::optional<BootGuard>& guard) override {
    const std::lock_guard lock(mutex_);
    if (guard) return install_boot_guard(*guard);
    bool changed = TRY(put_boot_drop_ins({}));
    const fs::path file = options_.unit_folder / kBootUnit;
    std::error_code absent;
    if (fs::exists(file, absent)) {
      TRYV(change_files_of_unit("DisableUnitFiles", std::string(kBootUnit)));
      TRYV(remove_tree(file));
      changed = true;
    }
    return changed ? call(bus_.get(), "Reload") : Status{};
  }

  std::string log_tail(const std::string& name, std::size_t lines) override {
    return log_of_unit(unit_name(name), lines, launched_at(unit_name(name)));
  }

  void on_state_change(StateChanged callback) override {
    const std::lock_guard lock(callback_mutex_);
    callback_ = std::move(callback);
  }

 private:
  // It is started at once: what cannot be loaded now will not be at a boot, and then no daemon may
  // be made to wait for it.
  Status install_boot_guard(const BootGuard& guard) {
    const std::string unit(kBootUnit);
    const std::string text = TRY(render_boot_unit(guard));
    const fs::path file = options_.unit_folder / unit;
    if (read_file(file, 1U << 16U).value_or("") != text) {
      TRYV(write_file_atomic(file, text, 0644));
      TRYV(call(bus_.get(), "Reload"));
    }
    std::error_code ec;
    const fs::path wanted = options_.unit_folder / (std::string(kBootTarget) + ".wants") / unit;
    if (!fs::is_symlink(wanted, ec)) TRYV(change_files_of_unit("EnableUnitFiles", unit));
    Status loaded;
    if (TRY(property_string(unit, kUnit, "ActiveState")) != "active")
      loaded = run_job_of_unit("StartUnit", unit, seconds(70));
    BootGuard kept = guard;
    for (auto& [name, must] : kept.services) must = must && loaded.has_value();
    if (TRY(put_boot_drop_ins(kept.services))) TRYV(call(bus_.get(), "Reload"));
    return loaded;
  }

  // The service's own daemon, and those that it has beside it (its resources of this type).
  [[nodiscard]] std::vector<std::string> units_of(const std::string& service) const {
    std::vector<std::string> out;
    if (!is_name(service)) return out;  // the base service of a class has none of its own
    out.push_back(unit_name(service));
    const std::string beside = fmt::format("consort-{}.", service);
    std::error_code ec;
    for (const auto& item : fs::directory_iterator(options_.unit_folder, ec)) {
      const std::string unit = item.path().filename().string();
      if (unit.starts_with(beside) && unit.ends_with(".service") && unit != out.front())
        out.push_back(unit);
    }
    return out;
  }

  // A daemon that comes beside a service's own waits at a boot for what that one waits for.
  Status wait_like_its_service(const std::string& name) {
    const auto drop_in = [&](const std::string& daemon) {
      return options_.unit_folder / (unit_name(daemon) + ".d") / kBootDropIn;
    };
    for (std::size_t dot = name.find('.'); dot != std::string::npos;
         dot = name.find('.', dot + 1)) {
      const auto text = read_file(drop_in(name.substr(0, dot)), 1U << 16U);
      if (!text) continue;
      TRYV(make_folders(drop_in(name).parent_path()));
      return write_file_atomic(drop_in(name), *text, 0644);
    }
    return {};
  }

  // Of these and of no others; whether anything has changed.
  Result<bool> put_boot_drop_ins(const std::map<std::string, bool>& services) {
    bool changed = false;
    std::map<fs::path, std::string> wanted;
    for (const auto& [name, must] : services) {
      for (const std::string& unit : units_of(name)) {
        const fs::path file = options_.unit_folder / (unit + ".d") / kBootDropIn;
        // A unit that belongs to two by its name obeys the stricter.
        const auto [it, made] = wanted.emplace(file, render_boot_drop_in(must));
        if (!made && must) it->second = render_boot_drop_in(must);
      }
    }
    std::vector<fs::path> old;
    std::error_code ec;
    for (const auto& item : fs::directory_iterator(options_.unit_folder, ec)) {
      const std::string folder = item.path().filename().string();
      if (!folder.starts_with("consort-") || !folder.ends_with(".service.d")) continue;
      const fs::path file = item.path() / kBootDropIn;
      std::error_code absent;
      if (!wanted.contains(file) && fs::exists(fs::symlink_status(file, absent)))
        old.push_back(file);
    }
    for (const fs::path& file : old) {
      TRYV(remove_tree(file));
      fs::remove(file.parent_path(), ec);  // unless others have put something there
      changed = true;
    }
    for (const auto& [file, text] : wanted) {
      if (read_file(file, 1U << 16U).value_or("") == text) continue;
      TRYV(make_folders(file.parent_path()));
      TRYV(write_file_atomic(file, text, 0644));
      changed = true;
    }
    return changed;
  }

  void note_launch(const std::string& name) {
    const std::lock_guard lock(launches_mutex_);
    launches_[unit_name(name)] = SystemClock().now();
  }
  // The epoch: not by us.
  [[nodiscard]] Instant launched_at(const std::string& unit) {
    const std::lock_guard lock(launches_mutex_);
    const auto it = launches_.find(unit);
    return it == launches_.end() ? Instant{} : it->second;
  }

  // Of what was written since `begin`.
  static std::string log_of_unit(const std::string& unit, std::size_t lines, Instant begin) {
    sd_journal* journal = nullptr;
    if (sd_journal_open(&journal, SD_JOURNAL_LOCAL_ONLY) < 0) return "";
    const std::unique_ptr<sd_journal, decltype(&sd_journal_close)> owned(journal,
                                                                         &sd_journal_close);
    sd_journal_add_match(journal, ("_SYSTEMD_UNIT=" + unit).c_str(), 0);
    sd_journal_seek_tail(journal);
    std::vector<std::string> out;
    while (out.size() < lines && sd_journal_previous(journal) > 0) {
      const void* data = nullptr;
      std::size_t size = 0;
      std::uint64_t written = 0;
      if (sd_journal_get_realtime_usec(journal, &written) >= 0 &&
          static_cast<std::int64_t>(written / 1000) < to_millis(begin))
        break;
      constexpr std::string_view kKey = "MESSAGE=";
      if (sd_journal_get_data(journal, "MESSAGE", &data, &size) < 0 || size < kKey.size()) continue;
      out.emplace_back(static_cast<const char*>(data) + kKey.size(), size - kKey.size());
    }
    std::reverse(out.begin(), out.end());
    return join(out, "\n");
  }

  [[nodiscard]] fs::path unit_path(const std::string& name) const {
    return options_.unit_folder / unit_name(name);
  }
  [[nodiscard]] fs::path record_path(const std::string& name) const {
    return options_.state_folder / (name + ".json");
  }

  template <class... Args>
  Status call(sd_bus* bus, const char* method, const char* types = "", Args... args) {
    BusError error;
    const int r = sd_bus_call_method(bus, kService, kManagerPath, kManager, method, &error.error,
                                     nullptr, types, args...);
    if (r < 0) return bus_failure(r, error.error, fmt::format("systemd refused {}", method));
    return {};
  }

  // The record says before the unit is written that a load is under way, and after it when it was
  // done. So what a running process was started with is known, whenever the agent is killed.
  Status write_record(const std::string& name, std::int64_t loaded) {
    const Json record = Json::object({{"boot", boot_id()}, {"loaded", loaded}});
    return write_file_atomic(record_path(name), record.dump() + "\n", 0600);
  }

  // Microseconds since boot when the unit file on the disk was loaded; 0: at boot; negative: not
  // known.
  std::int64_t loaded_at(const std::string& name) {
    const auto text = read_file(record_path(name), 4096);
    const auto json = text ? parse_json(*text) : Result<Json>(Json());
    if (!json || !json->is_object()) return -1;
    return json->string_or("boot") == boot_id() ? json->int_or("loaded", -1) : 0;
  }

  Status install(const std::string& name, const std::string& text) {
    TRYV(write_record(name, -1));
    TRYV(wait_like_its_service(name));
    TRYV(write_file_atomic(unit_path(name), text, 0644));
    TRYV(call(bus_.get(), "Reload"));
    TRYV(change_unit_files("EnableUnitFiles", name));
    return write_record(name, monotonic_micros());
  }

  Status change_unit_files(const char* method, const std::string& name) {
    return change_files_of_unit(method, unit_name(name));
  }

  Status change_files_of_unit(const char* method, const std::string& unit) {
    const int runtime = options_.unit_folder.string().starts_with("/run") ? 1 : 0;
    if (std::string_view(method) == "EnableUnitFiles")
      return call(bus_.get(), method, "asbb", 1, unit.c_str(), runtime, 1);
    return call(bus_.get(), method, "asb", 1, unit.c_str(), runtime);
  }

  Digest running_digest(const std::string& name) {
    const std::int64_t loaded = loaded_at(name);
    const auto started = property<std::uint64_t>(unit_name(name), kServiceUnit,
                                                 "ExecMainStartTimestampMonotonic", 't');
    if (loaded < 0 || static_cast<std::int64_t>(started) <= loaded) return Digest();
    return digest_in_unit(read_file(unit_path(name), 1U << 20U).value_or(""));
  }

  static std::string path_of(const std::string& unit) {
    char* path = nullptr;
    if (sd_bus_path_encode("/org/freedesktop/systemd1/unit", unit.c_str(), &path) < 0) return "";
    std::string out(path);
    std::free(path);  // NOLINT(cppcoreguidelines-no-malloc): sd-bus gave it
    return out;
  }

  Result<std::string> property_string(const std::string& unit, const char* interface,
                                      const char* name) {
    BusError error;
    char* value = nullptr;
    const int r = sd_bus_get_property_string(bus_.get(), kService, path_of(unit).c_str(), interface,
                                             name, &error.error, &value);
    if (r < 0) return bus_failure(r, error.error, fmt::format("cannot ask systemd about {}", unit));
    std::string out(value);
    std::free(value);  // NOLINT(cppcoreguidelines-no-malloc): sd-bus gave it
    return out;
  }

  template <class Number>
  Number property(const std::string& unit, const char* interface, const char* name, char type) {
    BusError error;
    Number value{};
    sd_bus_get_property_trivial(bus_.get(), kService, path_of(unit).c_str(), interface, name,
                                &error.error, type, &value);
    return value;
  }

  Status run_job(const char* method, const std::string& name, Duration timeout) {
    return run_job_of_unit(method, unit_name(name), timeout);
  }

  Status run_job_of_unit(const char* method, const std::string& unit, Duration timeout) {
    BusError error;
    sd_bus_message* reply = nullptr;
    ended_.clear();
    const int r = sd_bus_call_method(bus_.get(), kService, kManagerPath, kManager, method,
                                     &error.error, &reply, "ss", unit.c_str(), "replace");
    const Message owned(reply);
    if (r < 0)
      return bus_failure(r, error.error, fmt::format("systemd refused {} of {}", method, unit));
    const char* path = nullptr;
    if (sd_bus_message_read(reply, "o", &path) < 0)
      return fail(ErrorCode::io, "systemd answered with something unexpected");
    const auto end = std::chrono::steady_clock::now() + timeout;
    while (!ended_.contains(path)) {
      const auto left = std::chrono::duration_cast<std::chrono::microseconds>(
                            end - std::chrono::steady_clock::now())
                            .count();
      if (left <= 0)
        return fail(ErrorCode::timeout, fmt::format("{} of {} did not end within {}", method, unit,
                                                    human_duration(timeout)));
      const int done = sd_bus_process(bus_.get(), nullptr);
      if (done < 0) return bus_failure(done, error.error, "the connection to systemd broke");
      if (done == 0) sd_bus_wait(bus_.get(), static_cast<std::uint64_t>(left));
    }
    const std::string result = ended_[path];
    if (result == "done") return {};
    return fail(ErrorCode::io,
                fmt::format("{} of {} ended as '{}'{}{}", method, unit, result, how_it_ended(unit),
                            last_words(log_of_unit(unit, 10, launched_at(unit)))))
        .hint(fmt::format("systemctl status {}", unit));
  }

  // "; it ended with status 3"; "" where there was nothing that could end.
  std::string how_it_ended(const std::string& unit) {
    const auto code = property<std::int32_t>(unit, kServiceUnit, "ExecMainCode", 'i');
    const auto status = property<std::int32_t>(unit, kServiceUnit, "ExecMainStatus", 'i');
    if (code == 0) return "";
    return code == CLD_EXITED ? fmt::format("; it ended with status {}", status)
                              : fmt::format("; it was ended by signal {}", status);
  }

  void watch(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      int r = 0;
      while ((r = sd_bus_process(signal_bus_.get(), nullptr)) > 0) {
      }
      if (r < 0) {
        log_warn("the connection to systemd broke; daemons are looked at in passes only");
        return;
      }
      StateChanged callback;
      {
        const std::lock_guard lock(callback_mutex_);
        callback = callback_;
      }
      for (const std::string& name : std::exchange(changed_, {})) {
        if (callback && !stop.stop_requested()) callback(name);
      }
      std::array<pollfd, 2> fds = {
          pollfd{wake_.get(), POLLIN, 0},
          pollfd{sd_bus_get_fd(signal_bus_.get()),
                 static_cast<short>(sd_bus_get_events(signal_bus_.get())), 0}};
      ::poll(fds.data(), fds.size(), -1);
    }
  }

  SystemdOptions options_;
  std::mutex mutex_;  // of bus_ and ended_
  Bus bus_;
  Ended ended_;
  Bus signal_bus_;  // of the watching thread
  std::set<std::string> changed_;
  std::mutex launches_mutex_;
  std::map<std::string, Instant> launches_;  // unit → when ensure() told systemd to start it
  std::mutex callback_mutex_;
  StateChanged callback_;
  Fd wake_;
  std::jthread watcher_;
};

}  // namespace

Result<std::unique_ptr<Supervisor>> make_systemd_supervisor(SystemdOptions options) {
  auto out = std::make_unique<SystemdSupervisor>(std::move(options));
  TRYV(out->begin());
  return out;
}

}  // namespace consort::agent
