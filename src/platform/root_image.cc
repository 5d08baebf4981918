#include "platform/root_image.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "base/digest.h"
#include "base/process.h"
#include "base/text.h"

namespace consort::platform {
namespace {

constexpr std::string_view kSuite = "bookworm";

// An init with its tools; the servers of the examples; the libraries that the consort program is
// linked with.
constexpr std::array kPackages = {
    "systemd",       "systemd-sysv",    "dbus",     "iproute2",       "procps",
    "util-linux",    "ca-certificates", "curl",     "python3",        "python3-psycopg2",
    "postgresql-15", "nginx-light",     "haproxy",  "libjsonnet0",    "libboost-json1.81.0",
    "libsqlite3-0",  "libarchive13",    "libzstd1", "libyaml-cpp0.7", "libssl3",
    "libfmt9",       "libsystemd0",     "nftables",
};

// Servers are Consort's to start, not the distribution's; the rest only costs time at boot.
constexpr std::array kMasked = {"nginx.service",           "haproxy.service",
                                "postgresql.service",      "console-getty.service",
                                "getty@tty1.service",      "apt-daily.timer",
                                "apt-daily-upgrade.timer", "dpkg-db-backup.timer",
                                "e2scrub_all.timer",       "systemd-timesyncd.service",
                                "systemd-resolved.service"};

constexpr std::string_view kBefore =
    "mkdir -p \"$1/etc/postgresql-common\" \"$1/usr/sbin\"\n"
    "echo 'create_main_cluster = false' > \"$1/etc/postgresql-common/createcluster.conf\"\n"
    "printf '#!/bin/sh\\nexit 101\\n' > \"$1/usr/sbin/policy-rc.d\"\n"
    "chmod 755 \"$1/usr/sbin/policy-rc.d\"";

std::string after_script() {
  std::string out;
  for (const char* unit : kMasked)
    out += fmt::format("ln -sf /dev/null \"$1/etc/systemd/system/{}\"\n", unit);
  out += "ln -sf /lib/systemd/system/multi-user.target \"$1/etc/systemd/system/default.target\"\n";
  // Each host gets its own.
  out += ": > \"$1/etc/machine-id\"\nrm -f \"$1/etc/hostname\" \"$1/usr/sbin/policy-rc.d\"\n";
  return out;
}

std::vector<std::string> recipe(const fs::path& target) {
  std::string packages;
  for (const char* package : kPackages)
    packages += (packages.empty() ? "" : ",") + std::string(package);
  return {"mmdebstrap",
          "--variant=minbase",
          "--include=" + packages,
          "--setup-hook=" + std::string(kBefore),
          "--customize-hook=" + after_script(),
          std::string(kSuite),
          target.string()};
}

bool can_run(const std::string& program) {
  for (const std::string& folder :
       split("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ':')) {
    if (::access((folder + "/" + program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

}  // namespace

fs::path cache_folder() {
  if (const char* given = std::getenv("XDG_CACHE_HOME"); given != nullptr && *given == '/')
    return fs::path(given) / "consort";
  if (::geteuid() == 0) return "/var/cache/consort";
  const char* home = std::getenv("HOME");
  return fs::path(home != nullptr ? home : "/tmp") / ".cache" / "consort";
}

Result<fs::path> root_image(const Tell& tell) {
  const std::string key = Digest::of(join(recipe(""), "\n")).str().substr(7, 12);
  const fs::path folder = cache_folder() / "roots";
  const fs::path image = folder / fmt::format("{}-{}", kSuite, key);
  std::error_code error;
  if (fs::exists(image, error)) return image;
  if (!can_run("mmdebstrap")) {
    return fail(ErrorCode::unsupported,
                "mmdebstrap is missing: it makes the hosts' root file system")
        .hint("apt-get install mmdebstrap, or choose --platform process");
  }
  TRYV(make_folders(folder));
  bool told = false;
  auto lock = FileLock::acquire(folder / "lock", "the cache of root file systems");
  while (!lock && lock.error().code() == ErrorCode::locked) {
    if (!told) tell("another process makes the root file system; waiting for it");
    told = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    lock = FileLock::acquire(folder / "lock", "the cache of root file systems");
  }
  if (!lock) return fail(std::move(lock.error()));
  if (fs::exists(image, error)) return image;

  tell(
      fmt::format("making the hosts' root file system with mmdebstrap: Debian {} and {} packages, "
                  "once, in about a minute",
                  kSuite, kPackages.size()));
  const fs::path making = image.string() + ".new";
  TRYV(remove_tree(making));  // of a process that was killed while it made it
  ProcessSpec spec;
  spec.argv = recipe(making);
  spec.timeout = minutes(20);
  const auto outcome = run_process(spec);
  if (!outcome || !outcome->ok()) {
    (void)remove_tree(making);
    if (!outcome) return fail(outcome.error());
    return fail(ErrorCode::io, fmt::format("mmdebstrap ended with status {}:\n{}", outcome->status,
                                           last_lines(outcome->errors, 8)))
        .hint(
            "it needs Debian's package server (deb.debian.org, or a mirror in /etc/apt); or choose "
            "--platform process");
  }
  fs::rename(making, image, error);
  if (error)
    return fail(ErrorCode::io, fmt::format("cannot rename {} to {}: {}", making.string(),
                                           image.string(), error.message()));
  tell(fmt::format("made {} in {}", image.string(), human_duration(outcome->elapsed)));
  return image;
}

}  // namespace consort::platform
