// The table, how routes lead into it, and the reference that is written from it.
#include <fmt/format.h>

#include <array>

#include "access/decide.h"

namespace consort::access {
namespace {

using Least = ActionRow::Least;
using On = ActionRow::On;
using Others = ActionRow::Others;

constexpr std::array kTable = {
#define CONSORT_ACTION(name, doing, least, on, others, routes) \
  ActionRow{Action::name, #name, doing, Least::least, On::on, Others::others, routes},
#include "access/actions.def"
#undef CONSORT_ACTION
};

// Calls `use(route)` for each "METHOD pattern" until one says true.
template <class Use>
bool any_route(std::string_view routes, Use use) {
  while (!routes.empty()) {
    const std::size_t end = routes.find(", ");
    if (use(routes.substr(0, end))) return true;
    if (end == std::string_view::npos) return false;
    routes.remove_prefix(end + 2);
  }
  return false;
}

std::string_view on_text(On on) {
  switch (on) {
    case On::nothing:
      return "";
    case On::site:
      return " the site";
    case On::services:
      return " services";
    case On::host:
      return " a host";
    case On::object:
      return " an object";
    case On::self:
      return " oneself";
  }
  return "";
}

std::string_view least_text(const ActionRow& row) {
  switch (row.least) {
    case Least::anyone:
      return "anyone";
    case Least::known:
      return "any operator";
    case Least::viewer:
      return "viewer";
    case Least::deployer:
      return row.on == On::services ? "deployer of all of them"
             : row.on == On::site   ? "deployer of `*`"
                                    : "deployer";
    case Least::admin:
      return "admin";
    case Least::nobody:
      return "–";
  }
  return "";
}

std::string_view others_text(const ActionRow& row) {
  if (row.others == Others::joining) return "with a join token";
  if (row.others == Others::none) return "";
  return row.on == On::object ? "of what it runs" : "for itself";
}

}  // namespace

std::span<const ActionRow> action_table() { return kTable; }

std::string_view action_name(Action action) {
  const auto index = static_cast<std::size_t>(action);
  return index < kTable.size() ? kTable[index].name : "unknown";
}

std::optional<Action> action_of_route(std::string_view method, std::string_view pattern) {
  for (const ActionRow& row : kTable) {
    const bool found = any_route(row.routes, [&](std::string_view route) {
      return route.size() == method.size() + 1 + pattern.size() && route.starts_with(method) &&
             route[method.size()] == ' ' && route.ends_with(pattern);
    });
    if (found) return row.action;
  }
  return std::nullopt;
}

std::string access_reference() {
  std::string out =
      "# Who may do what\n\n<!-- Generated from the table of actions by `consort docs`. Do not "
      "edit. "
      "-->\n\n"
      "What is not in this table is refused. `admin` includes `deployer`, `deployer` includes "
      "`viewer`. A deployer may change the services that its grants name, by glob or by owner, and "
      "nothing else. A host acts for itself only. With `--insecure` on plain loopback everything "
      "is "
      "allowed, and the audit log says so. See [roles, tokens, joining](../access.md).\n\n"
      "| action | what it is | an operator must be | a host may | routes "
      "|\n|---|---|---|---|---|\n";
  for (const ActionRow& row : kTable) {
    std::string routes;
    any_route(row.routes, [&](std::string_view route) {
      routes += fmt::format("{}`{}`", routes.empty() ? "" : ", ", route);
      return false;
    });
    out += fmt::format("| `{}` | {}{} | {} | {} | {} |\n", row.name, row.doing, on_text(row.on),
                       least_text(row), others_text(row), routes);
  }
  return out;
}

}  // namespace consort::access
