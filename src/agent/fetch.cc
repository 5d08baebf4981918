#include "agent/fetch.h"

#include <fmt/format.h>
#include <sys/statvfs.h>

#include <charconv>

#include "agent/backoff.h"
#include "objects/tree.h"
#include "plan/manifest.h"

namespace consort::agent {
namespace {

constexpr std::uint64_t kPieceBytes = 2U << 20U;
constexpr std::uint64_t kMostLeftFree = 512U << 20U;

// "bytes 0-99/1234" → 1234.
std::optional<std::uint64_t> total_of(const http::Response& response) {
  const auto header = response.headers.get("Content-Range");
  const std::size_t slash = header ? header->rfind('/') : std::string_view::npos;
  if (slash == std::string_view::npos) return std::nullopt;
  std::uint64_t out = 0;
  const std::string_view text = header->substr(slash + 1);
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), out);
  return parsed.ec == std::errc() ? std::optional(out) : std::nullopt;
}

// Nothing large that a controller sends, whatever it says that it is, takes the last of the disk: a
// twentieth of it, half a gigabyte at most.
Status check_room(const fs::path& folder, std::uint64_t bytes) {
  struct statvfs disk {};
  if (::statvfs(folder.c_str(), &disk) != 0)
    return fail_errno(errno, fmt::format("cannot ask how much of {} is free", folder.string()));
  const std::uint64_t free = disk.f_bavail * disk.f_frsize;
  const std::uint64_t left = std::min(kMostLeftFree, disk.f_blocks * disk.f_frsize / 20);
  if (bytes + left <= free) return {};
  return fail(ErrorCode::io, fmt::format("there is no room for it: {} more bytes are to come, {} "
                                         "are free, and {} stay so",
                                         bytes, free, left))
      .hint(fmt::format("free space in {}", folder.string()));
}

bool worth_another_try(const Error& error) {
  return error.code() == ErrorCode::unavailable || error.code() == ErrorCode::timeout ||
         error.code() == ErrorCode::corrupt;
}

}  // namespace

Result<std::unique_ptr<Fetcher>> Fetcher::create(const Upstream& upstream,
                                                 const objects::ObjectStore& store) {
  auto out = std::unique_ptr<Fetcher>(new Fetcher(store));
  out->url_ = upstream.url;
  if (upstream.url.empty()) return out;
  out->client_ = std::make_unique<http::Client>(TRY(upstream.client()));
  http::ClientOptions quick;
  quick.connect_timeout = seconds(3);
  quick.timeout = seconds(5);
  out->ping_ = std::make_unique<http::Client>(TRY(upstream.client(quick)));
  return out;
}

Status Fetcher::object(const Digest& digest) {
  if (store_.has(digest)) return {};
  if (!client_)
    return fail(ErrorCode::unavailable,
                fmt::format("{} is not here, and this agent knows no controller", digest.str()))
        .hint("start it with --controller URL");
  Status status = transfer(digest);
  // Wrong bytes were thrown away: the second try begins at the first byte.
  if (!status && status.error().code() == ErrorCode::corrupt) {
    Status again = transfer(digest);
    // A controller forgets what is damaged there: that it was so is the better story.
    if (again || again.error().code() != ErrorCode::not_found) status = std::move(again);
  }
  if (!status)
    status.error().add_context(fmt::format("fetching the object {} from {}", digest.str(), url_));
  return status;
}

Status Fetcher::transfer(const Digest& digest) {
  while (true) {
    turns_.take();
    // Another thread may have brought it meanwhile.
    Result<bool> complete = store_.has(digest) ? Result<bool>(true) : piece(digest);
    Status status;
    if (!complete) status = tl::unexpected<Error>(complete.error());
    if (complete && *complete && !store_.has(digest)) status = store_.complete_partial(digest);
    turns_.pass_on();
    if (!status || *complete) return status;
  }
}

void Fetcher::Turns::take() {
  std::unique_lock lock(mutex_);
  const std::uint64_t mine = next_++;
  changed_.wait(lock, [&] { return serving_ == mine; });
}

void Fetcher::Turns::pass_on() {
  const std::lock_guard lock(mutex_);
  ++serving_;
  changed_.notify_all();
}

Result<bool> Fetcher::piece(const Digest& digest) {
  const std::uint64_t have = TRY(store_.partial_size(digest));
  http::Headers headers;
  headers.set("Range", fmt::format("bytes={}-{}", have, have + kPieceBytes - 1));
  const http::Response response =
      TRY(client_->request("GET", "/v1/objects/" + digest.str(), headers));
  if (response.status == 416 && have > 0) return true;
  if (!response.ok()) return fail(http::error_of(response));
  if (response.status == 206) {
    const auto total = total_of(response);
    if (!total || *total < have + response.body.size())
      return fail(ErrorCode::unavailable, "the controller does not say how large it is");
    // What is small comes also to a full disk: what to do there is among it.
    if (*total > kPieceBytes) TRYV(check_room(store_.root(), *total - have));
    if (!response.body.empty()) TRYV(store_.append_partial(digest, have, response.body));
    if (have + response.body.size() == *total) return true;
    if (response.body.empty())
      return fail(ErrorCode::unavailable, "the controller sent an empty piece");
    return false;
  }
  // A server that knows no ranges sends all of it again.
  if (response.body.size() > have)
    TRYV(store_.append_partial(digest, have, std::string_view(response.body).substr(have)));
  return true;
}

Status Fetcher::closure_once(const Digest& digest) {
  TRYV(object(digest));
  const plan::Manifest manifest = TRY(plan::get_manifest(store_, digest));
  for (const Digest& reference : plan::manifest_references(manifest)) TRYV(object(reference));
  for (const auto& [name, artifact] : manifest.artifacts) {
    if (artifact.kind != plan::Artifact::Kind::tree) continue;
    for (const Digest& blob :
         objects::tree_references(TRY(objects::get_tree(store_, artifact.digest))))
      TRYV(object(blob));
  }
  return {};
}

Status Fetcher::closure(const Digest& digest, Duration patience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  Backoff backoff(Duration(200), seconds(10), stable_hash(digest.str()));
  std::optional<Error> damaged;
  while (true) {
    Status status = closure_once(digest);
    if (!status && status.error().code() == ErrorCode::corrupt) damaged = status.error();
    if (!status && status.error().code() == ErrorCode::not_found && damaged)
      return tl::unexpected<Error>(*damaged);
    if (status || !client_ || !worth_another_try(status.error())) return status;
    const Duration pause = backoff.next();
    if (std::chrono::steady_clock::now() + pause > end) return status;
    std::unique_lock lock(wait_mutex_);
    if (cancelled_.wait_for(lock, pause, [&] { return cancel_; })) return status;
  }
}

bool Fetcher::reachable() {
  // Any answer will do: the way to the controller is what is asked about.
  return ping_ && ping_->get("/healthz").has_value();
}

void Fetcher::cancel() {
  {
    const std::lock_guard lock(wait_mutex_);
    cancel_ = true;
  }
  cancelled_.notify_all();
  if (client_) client_->cancel();
  if (ping_) ping_->cancel();
}

}  // namespace consort::agent
