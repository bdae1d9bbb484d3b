// One statement stores a batch: a CTE moves the head if epoch, fence and next index are as believed, and every INSERT joins with it, so
// that all happens or nothing. Rows travel as one array a column ($8 onwards), unnested side by side: the text of the statement depends
// only on the set of companion tables and stays prepared.
// Tested by tests/audit/batch_test.cpp.
#include "audit/batch.h"

#include <algorithm>

#include <fmt/format.h>

#include "audit/key_chain.h"
#include "audit/merkle.h"

namespace tollgate::audit {
namespace {

struct Column {
  const char* name;
  const char* type;
};

constexpr Column kRecordColumns[] = {
    {"leaf_index", "int8"}, {"wall_us", "int8"}, {"day", "date"},         {"attempt", "int4"},  {"segment", "int4"},    {"kind", "int2"},     {"request_id", "uuid"},
    {"org_id", "uuid"},     {"team_id", "uuid"}, {"project_id", "uuid"}, {"key_id", "uuid"},   {"leaf_hash", "bytea"}, {"message", "bytea"}, {"content", "bytea"},
};
constexpr std::size_t kRecordColumnCount = std::size(kRecordColumns);
constexpr int kFirstArray = 8;

// Postgres's literal of a one-dimensional array, built in one buffer.
class ArrayText {
 public:
  explicit ArrayText(std::size_t reserve) {
    out_.reserve(reserve);
    out_.push_back('{');
  }
  void Null() {
    Separate();
    out_.append("NULL");
  }
  void Int(std::int64_t value) {
    Separate();
    fmt::format_to(std::back_inserter(out_), "{}", value);
  }
  void Plain(std::string_view text) {  // Without any character that means something.
    Separate();
    out_.append(text);
  }
  void Bytes(std::string_view bytes) {
    static constexpr char kHex[] = "0123456789abcdef";
    Separate();
    out_.append("\\\\x");
    const std::size_t at = out_.size();
    out_.resize(at + 2 * bytes.size());
    char* to = out_.data() + at;
    for (const char c : bytes) {
      *to++ = kHex[static_cast<unsigned char>(c) >> 4];
      *to++ = kHex[static_cast<unsigned char>(c) & 15];
    }
  }
  void Text(std::string_view text) {
    Separate();
    out_.push_back('"');
    for (const char c : text) {
      if (c == '"' || c == '\\') out_.push_back('\\');
      out_.push_back(c);
    }
    out_.push_back('"');
  }
  void Id(const base::Uuid& id) { id.IsNone() ? Null() : Plain(id.ToString()); }
  std::string Take() {
    out_.push_back('}');
    return std::move(out_);
  }

 private:
  void Separate() {
    if (out_.size() > 1) out_.push_back(',');
  }
  std::string out_;
};

void AppendValue(ArrayText& array, const base::Value& value) {
  if (const auto* number = std::get_if<std::int64_t>(&value)) {
    array.Int(*number);
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    array.Text(*text);
  } else if (const auto* blob = std::get_if<base::Blob>(&value)) {
    array.Bytes(blob->bytes);
  } else {
    array.Null();
  }
}

std::string UnnestOf(const std::vector<Column>& columns, int& next, std::string_view alias) {
  std::string arrays, names;
  for (const Column& column : columns) {
    arrays += fmt::format("{}${}::{}[]", arrays.empty() ? "" : ", ", next++, column.type);
    names += fmt::format("{}{}", names.empty() ? "" : ", ", column.name);
  }
  return fmt::format("unnest({}) AS {}({})", arrays, alias, names);
}

std::string ListOf(const std::vector<Column>& columns, std::string_view prefix) {
  std::string out;
  for (const Column& column : columns) out += fmt::format("{}{}{}", out.empty() ? "" : ", ", prefix, column.name);
  return out;
}

std::string CompanionInsert(const base::CompanionTable& table, int& next, std::size_t number) {
  std::vector<Column> columns;
  for (const auto& column : table.columns) columns.push_back({column.name, column.type});
  std::string into = ListOf(columns, ""), from = ListOf(columns, "u.");
  std::vector<Column> sent = columns;
  sent.push_back({"tg_leaf_index", "int8"});
  if (table.log_id_column != nullptr) {
    into += fmt::format(", {}", table.log_id_column);
    from += ", head.log_id";
  }
  if (table.leaf_index_column != nullptr) {
    into += fmt::format(", {}", table.leaf_index_column);
    from += ", u.tg_leaf_index";
  }
  return fmt::format(", companion{} AS (INSERT INTO {} ({}) SELECT {} FROM head, {})", number, table.name, into, from, UnnestOf(sent, next, "u"));
}

std::string TextFor(const std::vector<const base::CompanionTable*>& tables) {
  int next = kFirstArray;
  const std::vector<Column> columns(std::begin(kRecordColumns), std::end(kRecordColumns));
  std::string sql = fmt::format(
      "WITH head AS (UPDATE audit.log_head SET next_index = next_index + $5::int8, open_from = $6::int8, "
      "expires_at = now() + $4::int8 * interval '1 millisecond' "
      "WHERE log_id = $1::int2 AND epoch = $2::int8 AND fence = $3::int8 AND next_index = $7::int8 RETURNING log_id), "
      "records AS (INSERT INTO audit.record (log_id, {}) SELECT head.log_id, {} FROM head, ",
      ListOf(columns, ""), ListOf(columns, "u."));
  sql += UnnestOf(columns, next, "u") + ")";
  for (std::size_t i = 0; i < tables.size(); ++i) sql += CompanionInsert(*tables[i], next, i);
  return sql + " SELECT count(*) FROM head";
}

void PushRecordArrays(const Head& head, std::span<const EncodedRow* const> rows, base::Params& params) {
  std::size_t message_bytes = 0, content_bytes = 0;
  for (const EncodedRow* row : rows) {
    message_bytes += row->message.size();
    content_bytes += row->content ? row->content->size() : 0;
  }
  std::vector<ArrayText> arrays;
  for (std::size_t i = 0; i + 2 < kRecordColumnCount; ++i) arrays.emplace_back(40 * rows.size());
  arrays.emplace_back(2 * message_bytes + 8 * rows.size());
  arrays.emplace_back(2 * content_bytes + 8 * rows.size());
  std::int64_t index = head.next_index;
  for (const EncodedRow* row : rows) {
    std::size_t c = 0;
    arrays[c++].Int(index);
    arrays[c++].Int(row->wall_us);
    arrays[c++].Plain(DayText(DayOf(base::FromMicros(row->wall_us))));
    arrays[c++].Int(row->attempt);
    arrays[c++].Int(row->segment);
    arrays[c++].Int(row->kind);
    for (const base::Uuid* id : {&row->request, &row->org, &row->team, &row->project, &row->key}) arrays[c++].Id(*id);
    arrays[c++].Bytes(base::View(RecordLeaf(head.log_id, index, row->message)));
    arrays[c++].Bytes(row->message);
    row->content ? arrays[c].Bytes(*row->content) : arrays[c].Null();
    ++index;
  }
  for (ArrayText& array : arrays) params.emplace_back(array.Take());
}

void PushCompanionArrays(const Head& head, std::span<const EncodedRow* const> rows, const base::CompanionTable& table, base::Params& params) {
  std::vector<ArrayText> arrays;
  for (std::size_t i = 0; i <= table.columns.size(); ++i) arrays.emplace_back(24 * rows.size());
  std::int64_t index = head.next_index;
  for (const EncodedRow* row : rows) {
    for (const base::Companion& companion : row->companions) {
      if (companion.table != &table) continue;
      for (std::size_t c = 0; c < companion.values.size(); ++c) AppendValue(arrays[c], companion.values[c]);
      arrays.back().Int(index);
    }
    ++index;
  }
  for (ArrayText& array : arrays) params.emplace_back(array.Take());
}

absl::StatusOr<base::Uuid> IdOf(const std::string& bytes, std::string_view field) {
  if (bytes.empty()) return base::Uuid();
  auto id = base::Uuid::FromBytes(bytes);
  if (!id.ok()) return base::InvalidArgument(fmt::format("record: {} must have 16 bytes, it has {}", field, bytes.size()));
  return id;
}

}  // namespace

std::size_t EncodedRow::bytes() const {
  std::size_t sum = 256 + message.size() + (content ? content->size() : 0);
  for (const auto& companion : companions) sum += 64 * companion.values.size();
  return sum;
}

absl::StatusOr<EncodedRow> Encode(Entry&& entry, const base::Clock& clock) {
  v1::Record& record = entry.record;
  if (record.kind() == v1::RECORD_KIND_UNSPECIFIED) return base::InvalidArgument("record: kind is not set");
  if (record.attempt() > INT32_MAX || record.segment() > INT32_MAX) return base::InvalidArgument("record: attempt or segment is too large");
  record.set_version(1);
  if (record.wall_us() == 0) record.set_wall_us(base::ToMicros(clock.Wall()));
  if (record.mono_us() == 0) {
    record.set_mono_us(std::chrono::duration_cast<std::chrono::microseconds>(clock.Mono().time_since_epoch()).count());
  }
  record.clear_content();
  if (entry.content) *record.mutable_content() = std::move(entry.content->commitment);

  EncodedRow row;
  row.kind = record.kind();
  row.attempt = record.attempt();
  row.segment = record.segment();
  row.wall_us = record.wall_us();
  TG_ASSIGN(row.request, IdOf(record.request_id(), "request_id"));
  TG_ASSIGN(row.org, IdOf(record.org_id(), "org_id"));
  TG_ASSIGN(row.team, IdOf(record.team_id(), "team_id"));
  TG_ASSIGN(row.project, IdOf(record.project_id(), "project_id"));
  TG_ASSIGN(row.key, IdOf(record.key_id(), "key_id"));
  const bool of_request = row.kind == v1::RECORD_KIND_REQUEST || row.kind == v1::RECORD_KIND_SEGMENT || IsTerminal(row.kind);
  if (of_request && row.request.IsNone()) return base::InvalidArgument("record: this kind needs a request_id");
  for (const base::Companion& companion : entry.companions) {
    if (companion.table == nullptr || companion.values.size() != companion.table->columns.size()) {
      return base::InvalidArgument("record: a companion has not as many values as its table has columns");
    }
  }
  if (!record.SerializeToString(&row.message)) return base::InvalidArgument("record: it cannot be serialised");
  if (entry.content) row.content = std::move(entry.content->stored);
  row.companions = std::move(entry.companions);
  return row;
}

BatchStatements::Statement BatchStatements::Build(const Head& head, std::int64_t open_from, std::chrono::milliseconds claim,
                                                  std::span<const EncodedRow* const> rows) {
  Tables tables;
  for (const EncodedRow* row : rows) {
    for (const base::Companion& companion : row->companions) {
      if (std::find(tables.begin(), tables.end(), companion.table) == tables.end()) tables.push_back(companion.table);
    }
  }
  std::sort(tables.begin(), tables.end());
  auto found = texts_.find(tables);
  if (found == texts_.end()) found = texts_.emplace(tables, TextFor(tables)).first;

  Statement out{&found->second, {}};
  out.params = {std::int64_t{head.log_id}, head.epoch, head.fence, std::int64_t{claim.count()},
                static_cast<std::int64_t>(rows.size()), open_from, head.next_index};
  PushRecordArrays(head, rows, out.params);
  for (const base::CompanionTable* table : tables) PushCompanionArrays(head, rows, *table, out.params);
  return out;
}

}  // namespace tollgate::audit
