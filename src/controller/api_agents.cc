// The agents' half of the API: targets, reports, objects.
#include <fmt/format.h>

#include <deque>
#include <memory>
#include <utility>

#include "base/log.h"
#include "base/text.h"
#include "controller/host_texts.h"
#include "controller/shell.h"

namespace consort::controller {
namespace {

constexpr std::size_t kReportBytes = 4U << 20U;
// Waits in memory for each reader. As the store's own pieces: less would unpack them more than
// once.
constexpr std::size_t kObjectChunk = 1U << 20U;
constexpr std::size_t kUploadBytes = 9U << 20U;
constexpr std::size_t kReadsAtOnce = 8;

Result<std::uint64_t> number(const http::Request& request, std::string_view name) {
  const std::string text = request.query_value(name).value_or("0");
  std::uint64_t out = 0;
  if (text.empty() || text.size() > 18 ||
      text.find_first_not_of("0123456789") != std::string::npos) {
    return fail(ErrorCode::invalid_input,
                fmt::format("{}: '{}' is not a number", name, text.substr(0, 40)));
  }
  for (const char c : text) out = out * 10 + static_cast<std::uint64_t>(c - '0');
  return out;
}

Result<std::string> host_name(const http::Request& request) {
  std::string name = request.param("name");
  if (!is_name(name))
    return fail(ErrorCode::invalid_input,
                fmt::format("'{}' is not a good host name", name.substr(0, 80)))
        .hint("use letters, digits, '-', '_' and '.', at most 63");
  return name;
}

// "bytes=1000-" or "bytes=1000-1999".
std::optional<std::pair<std::uint64_t, std::uint64_t>> range_of(const http::Request& request) {
  const auto header = request.headers.get("range");
  if (!header || !header->starts_with("bytes=")) return std::nullopt;
  const std::vector<std::string> ends = split(header->substr(6), '-');
  if (ends.size() != 2 || ends[0].empty() || ends[0].size() > 15 || ends[1].size() > 15)
    return std::nullopt;
  for (const std::string& end : ends) {
    if (end.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  }
  const std::pair<std::uint64_t, std::uint64_t> out(
      std::stoull(ends[0]), ends[1].empty() ? UINT64_MAX : std::stoull(ends[1]));
  // RFC 9110, 14.1.1: a range that ends before it begins is no range.
  return out.second < out.first ? std::nullopt : std::optional(out);
}

// A damaged object must not look as if it were here: the next deploy sends it anew.
http::Response unreadable(const objects::ObjectStore& store, const Digest& digest, Error error) {
  if (error.code() == ErrorCode::corrupt) {
    log_error("{}; it is forgotten, the next deploy sends it anew", error.message());
    static_cast<void>(store.discard(digest).has_value());
    error = std::move(error).hint("deploy again: what is damaged is forgotten and sent anew");
  }
  return http::Response::error(error);
}

http::Response read_object(const objects::ObjectStore& store, const Digest& digest,
                           const http::Request& request) {
  const auto size = store.size(digest);
  if (!size) return unreadable(store, digest, size.error());
  const auto range = range_of(request);
  const std::uint64_t from = range ? range->first : 0;
  const std::uint64_t wanted = range ? std::min(range->second, *size == 0 ? 0 : *size - 1) -
                                           std::min(range->first, *size) + 1
                                     : *size;
  http::Response out;
  if (range && from >= *size && *size > 0) {
    out = http::Response::error(
        fail(ErrorCode::invalid_input, "the range begins behind the object's end"));
    out.status = 416;
    return out;
  }
  // A long object comes in pieces: the reader asks for the rest.
  const std::uint64_t length = std::min<std::uint64_t>(wanted, kObjectChunk);
  auto bytes = store.slice(digest, from, static_cast<std::size_t>(length));
  if (!bytes) return unreadable(store, digest, bytes.error());
  const bool part = range.has_value() || length < *size;
  out.status = part ? 206 : 200;
  out.headers.set("Content-Type", "application/octet-stream");
  if (part)
    out.headers.set("Content-Range",
                    fmt::format("bytes {}-{}/{}", from,
                                from + bytes->size() - (bytes->empty() ? 0 : 1), *size));
  out.body = std::move(*bytes);
  return out;
}

// Objects are read a few at a time: what is read and has not reached the server, which counts what
// waits to be sent, waits in memory, too. On the loop's thread.
class Reads : public std::enable_shared_from_this<Reads> {
 public:
  explicit Reads(Shell& shell) : shell_(shell) {}
  void add(std::function<http::Response()> read, const http::Responder& responder) {
    waiting_.push_back({std::move(read), responder});
    next();
  }

 private:
  struct Read {
    std::function<http::Response()> read;
    http::Responder responder;
  };
  void next() {
    while (under_way_ < kReadsAtOnce && !waiting_.empty()) {
      ++under_way_;
      Read one = std::move(waiting_.front());
      waiting_.pop_front();
      shell_.workers().post([self = shared_from_this(), one = std::move(one)] {
        self->shell_.loop().post(
            [self, responder = one.responder, response = one.read()]() mutable {
              responder.send(std::move(response));
              --self->under_way_;
              self->next();
            });
      });
    }
  }

  Shell& shell_;
  std::size_t under_way_ = 0;
  std::deque<Read> waiting_;
};

http::Response take_piece(const objects::ObjectStore& store, const Digest& digest,
                          std::uint64_t offset, const http::Request& request) {
  if (store.has(digest))
    return http::Response::json(
        Json::object({{"complete", true}, {"received", request.body.size()}}));
  const bool last = request.query_value("last").value_or("1") == "1";
  if (offset == 0 && last) {
    // Small objects in one piece; the digest is checked by putting them under their own name.
    if (Digest::of(request.body) != digest)
      return http::Response::error(
          fail(ErrorCode::invalid_input, fmt::format("the bytes sent are not {}", digest.str()))
              .hint("send them again from the start"));
    if (auto put = store.put(request.body); !put) return http::Response::error(put.error());
    return http::Response::json(
        Json::object({{"complete", true}, {"received", request.body.size()}}));
  }
  if (auto status = store.append_partial(digest, offset, request.body); !status)
    return http::Response::error(status.error());
  if (last) {
    if (auto status = store.complete_partial(digest); !status) {
      http::Response response = http::Response::error(status.error());
      // What does not match its name came from the sender; nothing of the controller's is damaged.
      if (status.error().code() == ErrorCode::corrupt) response.status = 400;
      return response;
    }
  }
  return http::Response::json(
      Json::object({{"complete", last}, {"received", offset + request.body.size()}}));
}

// A host that tells of what nobody has given it: its data folder is damaged, or in other hands.
// Operators see it in the audit log.
Status check_position(Gate& gate, const Shell& shell, const Asker& asker, const std::string& host,
                      std::pair<std::uint64_t, std::uint64_t> told, Core::Telling telling) {
  Status status = shell.core().check_position(host, told.first, told.second, telling);
  if (!status)
    gate.note_refusal(
        asker.known,
        telling == Core::Telling::poll ? access::Action::read_target : access::Action::send_report,
        host, status.error().message());
  return status;
}

Status check_report(Gate& gate, const Shell& shell, const Asker& asker,
                    const plan::HostReport& report) {
  TRYV(shell.writable());
  TRYV(check_extent(report));
  TRYV(check_position(gate, shell, asker, report.host, {report.epoch, report.seq},
                      Core::Telling::report));
  if (report.number == 0 || report.number >= kNumberLimit)
    return fail(ErrorCode::invalid_input,
                fmt::format("report.number: {} is not a number from 1 to {}", report.number,
                            kNumberLimit - 1));
  return {};
}

}  // namespace

void add_agent_routes(Gate& gate, Shell& shell) {
  gate.route("GET", "/v1/agents/{name}/target",
             [&gate, &shell](const http::Request& request, const http::Responder& responder,
                             const Asker& asker) {
               const auto host = host_name(request);
               const auto epoch = number(request, "epoch");
               const auto seq = number(request, "seq");
               if (!host || !epoch || !seq) {
                 responder.send(!host ? host.error() : !epoch ? epoch.error() : seq.error());
                 return;
               }
               if (const Status status = shell.writable(); !status) {
                 responder.send(status.error());
                 return;
               }
               if (const Status status = check_position(gate, shell, asker, *host, {*epoch, *seq},
                                                        Core::Telling::poll);
                   !status) {
                 responder.send(status.error());
                 return;
               }
               shell.hold_poll(*host, *epoch, *seq, responder, asker.still_believed);
             });
  gate.route(
      "POST", "/v1/agents/{name}/reports",
      [&gate, &shell, pace = std::make_shared<ReportPace>()](
          const http::Request& request, const http::Responder& responder, const Asker& asker) {
        const auto host = host_name(request);
        const auto json = request.json();
        if (!host || !json) {
          responder.send(!host ? host.error() : json.error());
          return;
        }
        const auto report = plan::host_report_from_json(*json);
        if (!report || report->host != *host) {
          responder.send(report ? Error(fail(ErrorCode::invalid_input,
                                             fmt::format("a report of '{}' sent by '{}'",
                                                         report->host, *host)))
                                : report.error());
          return;
        }
        Status acceptable = check_report(gate, shell, asker, *report);
        if (acceptable && !pace->take(*host, request.body.size(), shell.now()))
          acceptable = fail(ErrorCode::unavailable,
                            fmt::format("{} reports more than can be kept; later", *host));
        if (!acceptable) {
          responder.send(acceptable.error());
          return;
        }
        ++shell.metrics().reports;
        if (const auto machine = report->facts.find("machine.id"); machine != report->facts.end()) {
          if (const auto finding = access::check_machine(shell.registry(), *host, machine->second))
            shell.tell_finding(*finding);
        }
        shell.carry_out(
            shell.core().on_report(*report, shell.now()),
            [responder, number = report->number](const Status& status) {
              responder.send(status ? http::Response::json(Json::object({{"accepted", number}}))
                                    : http::Response::error(status.error()));
            });
      },
      {kReportBytes});
}

void add_object_routes(Gate& gate, Shell& shell) {
  const auto with_digest = [&shell](auto work) {
    return [&shell, work](const http::Request& request, const http::Responder& responder) {
      const auto digest = Digest::parse(request.param("digest"));
      if (!digest) {
        responder.send(digest.error());
        return;
      }
      shell.workers().post([&shell, work, request, responder, digest = *digest] {
        responder.send(work(shell.objects(), digest, request));
      });
    };
  };
  gate.route("GET", "/v1/objects/{digest}",
             [&shell, reads = std::make_shared<Reads>(shell)](const http::Request& request,
                                                              const http::Responder& responder) {
               const auto digest = Digest::parse(request.param("digest"));
               if (!digest) {
                 responder.send(digest.error());
                 return;
               }
               reads->add(
                   [&shell, request, digest = *digest] {
                     return read_object(shell.objects(), digest, request);
                   },
                   responder);
             });
  gate.route("PUT", "/v1/objects/{digest}",
             with_digest([](const objects::ObjectStore& store, const Digest& digest,
                            const http::Request& request) {
               const auto offset = number(request, "offset");
               return offset ? take_piece(store, digest, *offset, request)
                             : http::Response::error(offset.error());
             }),
             {kUploadBytes});
  gate.route("GET", "/v1/uploads/{digest}",
             with_digest(
                 [](const objects::ObjectStore& store, const Digest& digest, const http::Request&) {
                   const auto size = store.partial_size(digest);
                   if (!size) return http::Response::error(size.error());
                   return http::Response::json(
                       Json::object({{"complete", store.has(digest)}, {"received", *size}}));
                 }));
  gate.route(
      "POST", "/v1/objects/missing",
      [&shell](const http::Request& request, const http::Responder& responder) {
        const auto json = request.json();
        const Json* list = json ? json->find("digests") : nullptr;
        if (list == nullptr || !list->is_array()) {
          responder.send(json ? Error(fail(ErrorCode::invalid_input, "digests: expected a list"))
                              : json.error());
          return;
        }
        std::vector<Digest> digests;
        for (const Json& item : list->as_array()) {
          const auto digest = Digest::parse(item.is_string() ? item.as_string() : "");
          if (!digest) {
            responder.send(digest.error());
            return;
          }
          digests.push_back(*digest);
        }
        shell.workers().post([&shell, digests = std::move(digests), responder] {
          Json::Array missing;
          for (const Digest& digest : shell.objects().missing(digests))
            missing.emplace_back(digest.str());
          responder.send(http::Response::json(Json::object({{"missing", missing}})));
        });
      },
      {kUploadBytes});
}

}  // namespace consort::controller
