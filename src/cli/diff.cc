// consort diff: what differs between two generations, or between one and the site.
#include <fmt/format.h>

#include "base/text.h"
#include "cli/context.h"
#include "cli/rows.h"
#include "cli/terminal.h"
#include "plan/plan.h"

namespace consort::cli {
namespace {

Result<plan::Generation> generation_at(http::Client& client, const std::string& number) {
  auto answer = client.get_json("/v1/generations/" + url_encode(number));
  if (!answer && answer.error().code() == ErrorCode::not_found && number == "current")
    return fail(ErrorCode::not_found, "nothing has been deployed yet")
        .hint("begin with: consort deploy");
  return plan::generation_from_json(TRY(std::move(answer)));
}

struct Pair {
  plan::Generation before;
  plan::Generation after;
};

Result<Pair> chosen(http::Client& client, const Arguments& arguments) {
  Pair out;
  if (arguments.words.size() == 2) {
    out.before = TRY(generation_at(client, arguments.word(0)));
    out.after = TRY(generation_at(client, arguments.word(1)));
  } else {
    out.before = TRY(generation_at(client, arguments.word(0, "current")));
    // As a deploy of it would leave the services that could not be evaluated.
    out.after =
        plan::confined(TRY(prepare(arguments, &client)).compiled.generation, &out.before, {}, {});
  }
  return out;
}

// What differs in one service; nullopt when nothing does. Gets the manifests that are not here yet.
Result<std::optional<Json>> difference(http::Client& client, const objects::ObjectStore& store,
                                       const Pair& pair, const std::string& name) {
  const auto before = pair.before.services.find(name);
  const auto after = pair.after.services.find(name);
  Json row = Json::object({{"service", name}, {"change", nullptr}, {"changes", Json::array()}});
  if (before == pair.before.services.end() || after == pair.after.services.end()) {
    row["change"] = before == pair.before.services.end() ? "added" : "removed";
  } else if (before->second.manifest != after->second.manifest) {
    row["change"] = "changed";
    for (const Digest& digest : {before->second.manifest, after->second.manifest})
      TRYV(download(client, store, digest));
    for (const plan::Change& change :
         plan::manifest_changes(TRY(plan::get_manifest(store, before->second.manifest)),
                                TRY(plan::get_manifest(store, after->second.manifest))))
      row["changes"].push_back(Json::object({{"path", change.path}, {"diff", change.diff}}));
  } else if (before->second.hosts != after->second.hosts) {
    row["change"] = "moved";
  } else {
    return std::optional<Json>();
  }
  return std::optional<Json>(std::move(row));
}

void print_change(const Json& change) {
  const std::vector<std::string> lines = split(change.string_or("diff"), '\n');
  print(fmt::format("  {}{}\n", change.string_or("path"),
                    lines.size() == 1 ? ": " + lines.front() : ":"));
  for (std::size_t i = 0; lines.size() > 1 && i < lines.size(); ++i) {
    if (lines[i].empty()) continue;
    print("    " +
          paint(lines[i][0] == '+'   ? Colour::green
                : lines[i][0] == '-' ? Colour::red
                                     : Colour::dim,
                lines[i]) +
          "\n");
  }
}

void print_rows(const Json::Array& rows, const std::vector<plan::AccessChange>& access) {
  for (const Json& row : rows) {
    print(fmt::format("{} {}\n", paint(Colour::bold, row.string_or("service")),
                      row.string_or("change")));
    for (const Json& change : row.find("changes")->as_array()) print_change(change);
  }
  for (const plan::AccessChange& change : access)
    print(fmt::format("{} {}\n", paint(Colour::bold, "access"), plan::access_change_text(change)));
  if (rows.empty() && access.empty()) print("no difference\n");
}

Result<int> run_diff(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  const objects::ObjectStore store = TRY(local_store());
  const Pair pair = TRY(chosen(client, arguments));
  std::set<std::string> names;
  for (const auto* generation : {&pair.before, &pair.after}) {
    for (const auto& [name, record] : generation->services) names.insert(name);
  }
  Json::Array rows;
  for (const std::string& name : names) {
    if (auto row = TRY(difference(client, store, pair, name))) rows.push_back(std::move(*row));
  }
  // Who may reach what is part of no manifest.
  const auto access = plan::access_changes(&pair.before, pair.after);
  if (arguments.json()) {
    Json access_json = Json::array();
    for (const plan::AccessChange& change : access)
      access_json.push_back(plan::access_change_to_json(change));
    print(Json::object({{"before", pair.before.number},
                        {"after", pair.after.number == 0 ? Json() : Json(pair.after.number)},
                        {"services", rows},
                        {"access", access_json}})
              .dump() +
          "\n");
  } else {
    print_rows(rows, access);
  }
  return rows.empty() && access.empty() ? kOk : kChanges;
}

}  // namespace

Command diff_command() {
  return {"diff",
          "Show what differs between two generations, or between one and the site.",
          "With one generation, or none, against the site as it is now.",
          {{"GENERATION", "A number or 'current'; two numbers compare each other.",
            Positional::Count::optional},
           {"OTHER", "The second generation.", Positional::Count::optional}},
          {site_option(), {"--keep-going", "", "Leave broken services as they are."}},
          run_diff,
          false,
          false,
          "consort diff 3 4"};
}

}  // namespace consort::cli
