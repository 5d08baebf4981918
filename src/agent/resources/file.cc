#include "agent/resources/file.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <memory>
#include <mutex>

#include "agent/secret_source.h"
#include "base/text.h"
#include "site/placeholder.h"

namespace consort::agent {
namespace {

constexpr std::size_t kLargestDiffedFile = 64U << 10U;

class FileResource final : public Resource {
 public:
  [[nodiscard]] Result<Verdict> examine(const Context& context) const override {
    Verdict verdict;
    const Filled content = TRY(filled(context));
    const bool compares_bytes = has_content_ && !once_ && source() == nullptr;
    const HostFiles::Sight sight =
        compares_bytes ? TRY(context.files.look_and_read(path_, content.bytes().size()))
                       : HostFiles::Sight{TRY(context.files.look(path_)), std::nullopt};
    const Entry& entry = sight.entry;
    if (absent_) return examine_absence(entry);
    if (entry.kind != EntryKind::absent && entry.kind != EntryKind::file) {
      if (!force_) {
        return fail(ErrorCode::conflict, fmt::format("{} is in the way: it is a {}, not a file",
                                                     path_, entry_kind_name(entry.kind)))
            .hint("remove it, or say force: true to have it moved aside");
      }
      verdict.add("kind", std::string(entry_kind_name(entry.kind)), "file");
    }
    const Metadata meta = TRY(ownership_.resolve(context.accounts));
    if (entry.kind == EntryKind::file) {
      if (has_content_ && !once_ && sight.bytes != content.bytes())
        TRYV(compare_content(context, content.bytes(), entry, verdict));
      compare_metadata(meta, entry, verdict);
    } else if (entry.kind == EntryKind::absent) {
      verdict.add("file", "absent", "present");
    }
    if (verdict.state == Verdict::State::right) {
      verdict.evidence.push_back({path_, entry.stamp});
      if (const std::string* path = source_path())
        verdict.evidence.push_back({*path, context.files.stamp(*path)});
    }
    return verdict;
  }

  [[nodiscard]] Result<Applied> apply(const Context& context,
                                      const Verdict& verdict) const override {
    Applied out;
    // Before it holds one: whatever crashes, no copy of it is kept.
    if (holds_secrets() && !context.dry_run()) TRYV(context.secrets->taint(path_));
    if ((verdict.changes_what("content") && !holds_secrets()) || absent_)
      out.backup = TRY(context.back_up(path_));
    if (absent_) {
      TRYV(context.files.remove(path_));
      return out;
    }
    const Metadata meta = TRY(ownership_.resolve(context.accounts));
    if (!verdict.changes_what("content") && !verdict.changes_what("file") &&
        !verdict.changes_what("kind")) {
      TRYV(context.files.set_metadata(path_, meta));
      return out;
    }
    if (verdict.changes_what("kind")) {
      const Entry entry = TRY(context.files.look(path_));
      if (entry.kind != EntryKind::symlink)
        out.notes.push_back("what was in the way is now " + TRY(context.files.set_aside(path_)));
    }
    HostFiles::Validate validate;
    if (rare_ && !rare_->validate.empty()) {
      validate = [&](const fs::path& finished) { return run_validation(context, finished); };
      if (context.dry_run()) out.commands.push_back(quote_argv(rare_->validate));
    }
    Filled content = TRY(filled(context));
    auto note = context.files.write(path_, content.to_write(source()), meta, validate);
    if (!note) return explain(context, std::move(note).error());
    if (!note->empty()) out.notes.push_back(std::move(*note));
    return out;
  }

  [[nodiscard]] std::vector<std::string> watch(const Context& /*context*/) const override {
    return {path_};
  }
  [[nodiscard]] const std::string& place() const override { return path_; }
  [[nodiscard]] std::vector<std::string> claims() const override { return {path_}; }
  [[nodiscard]] std::vector<std::string> uses() const override {
    std::vector<std::string> out;
    ownership_.add_uses(out);
    if (const std::string* path = source_path()) out.push_back(*path);
    return out;
  }
  [[nodiscard]] bool wants_absence() const override { return absent_; }
  [[nodiscard]] bool decides_on_all() const override { return absent_ || (has_content_ && !once_); }
  [[nodiscard]] Result<Json> capture(const Context& context) const override {
    if (!holds_secrets()) return capture_path(context, path_);
    // What is in its place was most likely written by hand, with the secret in it.
    Context without = context;
    without.backups = nullptr;
    return capture_path(without, path_);
  }
  [[nodiscard]] bool holds_secrets() const override {
    return rare_ && !rare_->secret_content.empty();
  }
  [[nodiscard]] Result<std::optional<Digest>> configuration() const override {
    if (source() == nullptr) return std::optional(wish());
    return std::optional(Digest::of(wish().str() + TRY(source_digest()).str()));
  }

 private:
  friend Result<std::unique_ptr<Resource>> consort::agent::parse_file(JsonReader& reader,
                                                                      const fs::path& root);

  // The likeliest reason of a write that failed has a remedy of its own.
  [[nodiscard]] Failure explain(const Context& context, Error error) const {
    const auto parent = context.files.look(parent_of(path_));
    if (!parent || parent->kind != EntryKind::absent) return fail(std::move(error));
    return fail(ErrorCode::not_found,
                fmt::format("the directory {} of the file does not exist", parent_of(path_)))
        .hint(
            fmt::format("declare a resource of type directory with path: '{}'", parent_of(path_)));
  }

  [[nodiscard]] Result<Verdict> examine_absence(const Entry& entry) const {
    Verdict verdict;
    if (entry.kind == EntryKind::directory) {
      return fail(ErrorCode::conflict,
                  fmt::format("{} is a directory, not a file to remove", path_))
          .hint("use type directory with ensure: absent");
    }
    if (entry.kind == EntryKind::absent) {
      verdict.evidence.push_back({path_, entry.stamp});
    } else {
      verdict.add("file", "present", "absent");
    }
    return verdict;
  }

  // A piece of the content: text, or a reference to a secret.
  struct Part {
    std::string text;
    SecretReference secret;  // when its name is not empty
    site::Encoder encoder = site::Encoder::plain;
  };

  // What few files say, apart: hosts have many files.
  struct Rare {
    std::optional<fs::path> source;          // the content is this file's
    std::optional<std::string> source_path;  // as a path of the host, when it is below the root
    std::vector<Part> secret_content;
    std::vector<std::string> validate;
    // Of the source:
    std::mutex mutex;
    std::string hashed_stamp;
    Digest hashed;
  };
  Rare& rare() {
    if (!rare_) rare_ = std::make_unique<Rare>();
    return *rare_;
  }
  [[nodiscard]] const fs::path* source() const {
    return rare_ && rare_->source ? &*rare_->source : nullptr;
  }
  [[nodiscard]] const std::string* source_path() const {
    return rare_ && rare_->source_path ? &*rare_->source_path : nullptr;
  }

  // The content: with its secrets, wiped when it is no longer needed, or the bytes of the resource
  // itself.
  class Filled {
   public:
    explicit Filled(const std::string& bytes) : bytes_(&bytes) {}
    explicit Filled(Content secret)
        : own_(std::make_unique<Content>(std::move(secret))), bytes_(&own_->bytes) {}
    Filled(Filled&&) = default;
    Filled& operator=(Filled&&) = delete;
    ~Filled() {
      if (own_) crypto::wipe(own_->bytes);
    }
    [[nodiscard]] const std::string& bytes() const { return *bytes_; }
    // Null: these bytes, not another file's.
    [[nodiscard]] const Content& to_write(const fs::path* source) {
      if (!own_) own_ = std::make_unique<Content>(Content{*bytes_, source ? *source : fs::path()});
      return *own_;
    }

   private:
    std::unique_ptr<Content> own_;
    const std::string* bytes_;
  };

  [[nodiscard]] Result<Filled> filled(const Context& context) const {
    if (!holds_secrets()) return Filled(content_);
    const std::vector<Part>& parts = rare_->secret_content;
    if (context.secrets == nullptr)
      return fail(ErrorCode::unsupported,
                  fmt::format("{} holds a secret, and there are none here", path_))
          .hint("secrets are for services that a controller deploys");
    // A string that grew would leave copies behind.
    std::vector<crypto::SecretBytes> values;
    std::size_t size = 0;
    for (const Part& part : parts) {
      if (part.secret.name.empty()) {
        values.emplace_back();
        size += part.text.size();
        continue;
      }
      crypto::SecretBytes value = TRY(context.secrets->value(part.secret));
      if (part.encoder != site::Encoder::plain)
        value = crypto::SecretBytes::take(site::encode(part.encoder, std::string(value.reveal())));
      size += value.size();
      values.push_back(std::move(value));
    }
    std::string bytes;
    bytes.reserve(size);
    for (std::size_t i = 0; i < values.size(); ++i)
      bytes.append(parts[i].secret.name.empty() ? std::string_view(parts[i].text)
                                                : values[i].reveal());
    return Filled(Content{std::move(bytes), {}});
  }

  // [ { text } | { secret, version, service, encode } … ]: what the keeper makes of a content with
  // ${secret.…} in it.
  void read_secret_content(JsonReader& reader) {
    for (const Json& item : reader.array("secretContent")) {
      JsonReader one(item, reader.path_of("secretContent"));
      Part part;
      part.text = one.string("text", "");
      part.secret.name = one.string("secret", "");
      part.secret.version = static_cast<std::uint64_t>(one.integer("version", 0, 0));
      part.secret.service = one.string("service", "");
      part.encoder =
          static_cast<site::Encoder>(read_choice(one, "encode", {"plain", "json", "shell"}));
      if (Status status = one.finish(); !status) reader.note(std::move(status).error());
      rare().secret_content.push_back(std::move(part));
    }
  }

  Status compare_content(const Context& context, const std::string& content, const Entry& entry,
                         Verdict& verdict) const {
    if (holds_secrets()) {
      verdict.add("content", "(sensitive)", "(sensitive)");
      return {};
    }
    const std::uint64_t size =
        source() == nullptr ? content.size() : TRY(Content{{}, *source()}.size());
    if (size == entry.stamp.size) {
      if (source() == nullptr) {
        if (TRY(context.files.read(path_, kDefaultReadLimit)) == content) return {};
      } else if (TRY(context.files.digest(path_)) == TRY(source_digest())) {
        return {};
      }
    }
    std::string diff;
    const bool small = size <= kLargestDiffedFile && entry.stamp.size <= kLargestDiffedFile;
    // A file that has held a secret may hold it still.
    const bool tainted = context.secrets != nullptr && context.secrets->is_tainted(path_);
    if (small && !common().sensitive && !tainted) {
      const auto before = context.files.read(path_, kLargestDiffedFile);
      const auto after = source() == nullptr ? Result<std::string>(content)
                                             : read_file(*source(), kLargestDiffedFile);
      const bool text = before && after && before->find('\0') == std::string::npos &&
                        after->find('\0') == std::string::npos;
      if (text) diff = unified_diff(*before, *after);
    }
    verdict.add("content", fmt::format("{} bytes", entry.stamp.size), fmt::format("{} bytes", size),
                std::move(diff));
    return {};
  }

  // Hashing a large artifact once is enough as long as it is untouched.
  [[nodiscard]] Result<Digest> source_digest() const {
    const std::string stamp = file_stamp(*source());
    const std::lock_guard lock(rare_->mutex);
    if (rare_->hashed_stamp != stamp) {
      rare_->hashed = TRY((Content{{}, *source()}.digest()));
      rare_->hashed_stamp = stamp;
    }
    return rare_->hashed;
  }

  [[nodiscard]] Status run_validation(const Context& context, const fs::path& finished) const {
    ProcessSpec spec;
    for (const std::string& word : rare_->validate) {
      std::string expanded = word;
      constexpr std::string_view kNew = "${new}";
      for (std::size_t at = expanded.find(kNew); at != std::string::npos;
           at = expanded.find(kNew, at + finished.string().size())) {
        expanded.replace(at, kNew.size(), finished.string());
      }
      spec.argv.push_back(std::move(expanded));
    }
    spec.timeout = common().timeout.value_or(seconds(60));
    const ProcessOutcome outcome = TRY(context.runner.run(spec));
    if (outcome.ok()) return {};
    const std::string output =
        common().sensitive
            ? ""
            : last_lines(outcome.errors.empty() ? outcome.output : outcome.errors, 5);
    return fail(
               ErrorCode::refused,
               fmt::format("the new content of {} is not valid: {} ended with status {}{}{}", path_,
                           rare_->validate[0], outcome.status, output.empty() ? "" : ": ", output))
        .hint("the old file is untouched; correct the content");
  }

  std::string path_;
  std::string content_;
  Ownership ownership_;
  std::unique_ptr<Rare> rare_;
  bool absent_ = false;
  bool has_content_ = false;
  bool once_ = false;
  bool force_ = false;
};

}  // namespace

Result<std::unique_ptr<Resource>> parse_file(JsonReader& reader, const fs::path& root) {
  auto out = std::make_unique<FileResource>();
  out->path_ = read_path(reader, "path", root);
  out->absent_ = read_choice(reader, "ensure", {"present", "absent"}) == 1;
  auto content = reader.optional_string("content");
  const auto source = reader.optional_string("source");
  if (content && source)
    reader.note(fail(ErrorCode::invalid_input, fmt::format("{}: give content or source, not both",
                                                           reader.path_of("content"))));
  if (out->absent_ && (content || source)) {
    reader.note(fail(
        ErrorCode::invalid_input,
        fmt::format("{}: a file that shall be absent has no content", reader.path_of("ensure"))));
  }
  if (content) out->content_ = std::move(*content);
  if (source) {
    out->rare().source = *source;
    auto path = normal_path(*source, "/");
    if (!path) {
      reader.note(
          std::move(path.error()).context(fmt::format("reading {}", reader.path_of("source"))));
    } else if (root == "/") {
      out->rare().source_path = *path;
    } else if (auto inside = normal_path(*source, root); inside && *inside != *path) {
      out->rare().source_path = *inside;
    }
  }
  out->read_secret_content(reader);
  if (out->holds_secrets() && (content || source || out->absent_))
    reader.note(
        fail(ErrorCode::invalid_input,
             fmt::format("{}: a content with secrets is the only one, of a file that is there",
                         reader.path_of("secretContent"))));
  out->has_content_ = content || source || out->holds_secrets();
  out->ownership_ = Ownership::read(reader);
  if (out->holds_secrets() && !out->ownership_.mode) out->ownership_.mode = 0600;
  out->once_ = read_choice(reader, "replace", {"always", "once"}) == 1;
  if (auto validate = reader.strings("validate"); !validate.empty())
    out->rare().validate = std::move(validate);
  out->force_ = reader.boolean("force", false);
  return out;
}

}  // namespace consort::agent
