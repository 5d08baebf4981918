// Who may do what: one pure function over one table (actions.def). What the table does not allow is
// refused.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "access/principal.h"
#include "base/error.h"

namespace consort::access {

enum class Action : std::uint8_t {
#define CONSORT_ACTION(name, doing, least, on, others, routes) name,
#include "access/actions.def"
#undef CONSORT_ACTION
};

struct ActionRow {
  enum class Least : std::uint8_t { anyone, known, viewer, deployer, admin, nobody };
  enum class On : std::uint8_t { nothing, site, services, host, object, self };
  enum class Others : std::uint8_t { none, hosts, joining };
  Action action;
  std::string_view name;
  std::string_view doing;
  Least least;
  On on;
  Others others;
  std::string_view routes;
};
[[nodiscard]] std::span<const ActionRow> action_table();
// The action of a route of the API, by method and pattern ("GET", "/v1/hosts/{name}"). nullopt for
// one that the table does not name: refuse it. POST /v1/deploy is Action::deploy, also when it
// brings a generation back.
[[nodiscard]] std::optional<Action> action_of_route(std::string_view method,
                                                    std::string_view pattern);
[[nodiscard]] std::string_view action_name(Action action);

// A service that is changed, with who owns it in the generation before and in the one after.
// nullopt: there is no such service then. Both must be the deployer's: nobody takes a service over
// by writing another owner into a site.
struct ServiceSubject {
  std::string name;
  std::optional<std::string> owner_before{};
  std::optional<std::string> owner_after{};
};

// What it is done to. Fill in what ActionRow::on asks for.
struct Subject {
  // on = services. nullopt or empty: not known, so it may be any of them; only who may change all
  // is let through.
  std::optional<std::vector<ServiceSubject>> services{};
  // `later`: of which services is found out behind the door, and asked again then; until that a
  // deployer of anything is let through, whatever `services` says.
  enum class When : std::uint8_t { now, later };
  When services_are_known = When::now;
  std::string name{};  // on = host, self: whose (for self: of the asking one's own kind)
  // on = object: whether it belongs to what the asking host runs or shall run. nullopt: not known;
  // then any object may be read. Objects hold no secrets, and their names cannot be guessed.
  std::optional<bool> in_closure{};
  std::string partition{};  // of this controller; "" when there is but one
};

struct Decision {
  bool allowed = false;
  std::string reason;            // both ways, for the audit log
  std::string hint{};            // what to do when refused
  bool unauthenticated = false;  // refused for want of a credential: another one may help
  // Error unauthenticated or forbidden, with the hint.
  [[nodiscard]] Status status() const;
};

// `grants` are those of the operator; ignored for everybody else. Thread-safe.
[[nodiscard]] Decision decide(const Principal& principal, const std::vector<Grant>& grants,
                              Action action, const Subject& subject);

// docs/reference/access.md
[[nodiscard]] std::string access_reference();

}  // namespace consort::access
