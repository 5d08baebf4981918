// The Site model: what a site file declares, after evaluation and checks. A value; thread-safe to
// share.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/files.h"
#include "base/json.h"
#include "base/time.h"

namespace consort::site {

struct Need {
  std::string service;
  std::string endpoint;
  std::int64_t quorum = 0;     // 0: not declared
  bool follow_changes = true;  // onChange: restart
};

struct HostClass {
  std::string name;
  Json inventory;  // checked against inventory_schemas()
  std::int64_t min = 1;
  std::map<std::string, std::string> labels;
  std::string purpose;
  std::string owner;
};

struct Service {
  std::string name;
  std::string on;
  std::optional<std::int64_t> replicas;
  std::string when;  // label selector, "" for all hosts
  std::map<std::string, Need> needs;
  std::map<std::string, Need> uses;
  std::vector<std::string> after;
  std::map<std::string, Json> provides;
  Json access;  // { mode, also }, checked; null when not declared
  std::string version;
  std::int64_t data_version = 0;
  std::string purpose;
  std::string owner;
  // The body: known after the second evaluation.
  Json::Object artifacts;
  Json::Object resources;
  std::optional<Json> daemon;
  Json::Object hooks;
};

// Where the value of a secret comes from, on the operator's machine: a program, or a sealed text
// that is kept with the site. `consort secret sync` brings it to the controller.
struct SecretSource {
  std::vector<std::string> exec;  // prints the value; empty: it is in `file`
  std::string file;               // below the site's folder
  Duration timeout = seconds(30);
  bool exact = false;  // a newline at the end of what the program prints is part of the value
  std::string purpose;
};

struct Site {
  std::string name;
  std::string purpose;
  fs::path file;   // the site file
  Digest sources;  // of every file that was read
  std::map<std::string, HostClass> host_classes;
  std::map<std::string, Service> services;  // with "class:NAME" for classes that carry resources
  Json policy;                              // checked; an object
  Json access;                              // of services that say nothing; as Service::access
  std::map<std::string, SecretSource> secrets;
  std::map<std::string, Error> broken;  // services whose body could not be evaluated or is wrong
};

// The name of a class's base service.
[[nodiscard]] inline std::string base_service(const std::string& host_class) {
  return "class:" + host_class;
}

struct EvaluationLimits {
  Duration deadline = seconds(30);             // wall clock and CPU
  std::size_t memory = std::size_t{2} << 30U;  // bytes of address space
  std::size_t source_bytes = 32U << 20U;       // of all imported files together
  std::size_t result_bytes = 256U << 20U;
};

// What an endpoint resolves to once the fleet is known.
struct EndpointValue {
  std::vector<std::string> addresses;
  std::vector<std::string> hosts;
  std::int64_t port = 0;
};
// "service/endpoint" → value.
using EndpointTable = std::map<std::string, EndpointValue>;

// First evaluation: the static fields, which need no fleet. Runs libjsonnet in a child process
// under the limits; plain JSON needs neither. Errors: invalid_input with file, line, excerpt and
// caret; timeout; too_large; not_found. Of several mistakes the first is returned; `mistakes`,
// where given, gets all of them.
[[nodiscard]] Result<Site> evaluate_static(const fs::path& file,
                                           const EvaluationLimits& limits = {},
                                           std::vector<Error>* mistakes = nullptr);

// Second evaluation: fills the bodies. A service that cannot be evaluated is put into `broken` with
// its error; the others are complete. Errors only when nothing could be evaluated at all.
[[nodiscard]] Status evaluate_bodies(Site& site, const EndpointTable& endpoints,
                                     const EvaluationLimits& limits = {});

// Checks across services: unknown classes, services, endpoints (did you mean …?), self-needs, hard
// cycles. Nothing is known of the services in `broken` but their names.
[[nodiscard]] std::vector<Error> reference_mistakes(const Site& site,
                                                    const std::set<std::string>& broken);

// The text of consort.libsonnet, compiled in.
[[nodiscard]] std::string_view consort_libsonnet();

}  // namespace consort::site
