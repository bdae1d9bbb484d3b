// A session over libpqxx 6.4, whose exceptions end in this file.
//
// Outside InTransaction a statement is sent by itself and commits by itself: one round trip. A connection lost while it ran leaves a
// statement that writes in doubt (UNKNOWN) and one that only reads plainly undone (UNAVAILABLE). Inside InTransaction only a loss during
// COMMIT is in doubt, which libpqxx reports apart.
//
// Two clocks limit a statement: Postgres's statement_timeout, and, in case the server cannot keep it (stopped, or its host gone), a
// SocketDeadline one second later that breaks the connection. libpqxx would quietly reconnect after a break and lose the session's
// settings: that is switched off. The deadline has a name of its own for the socket: libpq may close the other while a call runs, and
// another thread be given its number.
// Tested by tests/base/postgres_test.cpp and tests/base/postgres_faults_test.cpp.
#include "base/postgres.h"

#include <type_traits>
#include <unordered_map>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <fmt/format.h>
#include <pqxx/pqxx>

#include "base/diagnostics.h"
#include "base/postgres_errors.h"
#include "base/postgres_params.h"
#include "base/postgres_watchdog.h"

namespace tollgate::base {
namespace {

constexpr std::size_t kPreparedMax = 256;
constexpr std::chrono::milliseconds kGrace{1000};
constexpr std::chrono::milliseconds kIdle{5000};  // Beyond statement_timeout: within it a change waits for its record.
constexpr std::chrono::milliseconds kCutOff{60'000};

// Keeps the server's notices from standard error, and remembers the one that puts a commit in doubt: a cancelled wait for a standby.
class Notices final : public pqxx::errorhandler {
 public:
  using errorhandler::errorhandler;
  bool operator()(const char message[]) noexcept override {
    in_doubt_ = in_doubt_ || MayLeaveInDoubt(message);
    return false;
  }
  bool TakeInDoubt() { return std::exchange(in_doubt_, false); }

 private:
  bool in_doubt_ = false;
};

class SocketName {
 public:
  explicit SocketName(int socket) : number_(::fcntl(socket, F_DUPFD_CLOEXEC, 0)) {}
  ~SocketName() {
    if (number_ >= 0) ::close(number_);
  }
  SocketName(const SocketName&) = delete;
  SocketName& operator=(const SocketName&) = delete;
  int number() const { return number_; }  // -1: the process may have no more.

 private:
  const int number_;
};

bool IsUri(std::string_view url) { return url.starts_with("postgresql://") || url.starts_with("postgres://"); }

// The caller's URL with our limits and whom we take; the last of two settings counts.
std::string WithLimits(const PostgresOptions& options) {
  const auto seconds = std::max<long>(2, (options.connect_timeout.count() + 999) / 1000);  // libpq's least is 2.
  const auto lost_ms = std::min(options.statement_timeout + kGrace, kCutOff).count();
  const std::string ours[] = {fmt::format("connect_timeout={}", seconds),
                              fmt::format("tcp_user_timeout={}", lost_ms),
                              "keepalives=1",
                              "keepalives_idle=30",
                              "keepalives_interval=10",
                              "keepalives_count=3",
                              "target_session_attrs=read-write"};
  if (!IsUri(options.url)) return fmt::format("{} {}", options.url, fmt::join(ours, " "));
  const char mark = options.url.find('?') == std::string::npos ? '?' : '&';
  return fmt::format("{}{}{}", options.url, mark, fmt::join(ours, "&"));
}

Rows ReadRows(const pqxx::result& result) {
  std::vector<Rows::Row> rows;
  rows.reserve(result.size());
  for (const auto& line : result) {
    auto& out = rows.emplace_back();
    out.reserve(line.size());
    for (const auto& field : line) {
      if (field.is_null()) {
        out.emplace_back(std::nullopt);
      } else {
        out.emplace_back(std::in_place, field.c_str(), field.size());
      }
    }
  }
  return Rows(std::move(rows), static_cast<std::int64_t>(result.affected_rows()));
}

// libpqxx drops the SQLSTATE of some kinds of error and keeps only its own class for them.
std::string_view StateOf(const pqxx::sql_error& e) {
  if (!e.sqlstate().empty()) return e.sqlstate();
  const auto is = [&]<typename T>(std::type_identity<T>) { return dynamic_cast<const T*>(&e) != nullptr; };
  if (is(std::type_identity<pqxx::unique_violation>())) return "23505";
  if (is(std::type_identity<pqxx::integrity_constraint_violation>())) return "23000";
  if (is(std::type_identity<pqxx::insufficient_privilege>())) return "42501";
  if (is(std::type_identity<pqxx::undefined_table>())) return "42P01";
  if (is(std::type_identity<pqxx::undefined_column>())) return "42703";
  if (is(std::type_identity<pqxx::undefined_function>())) return "42883";
  if (is(std::type_identity<pqxx::syntax_error>())) return "42601";
  if (is(std::type_identity<pqxx::disk_full>())) return "53100";
  if (is(std::type_identity<pqxx::out_of_memory>())) return "53200";
  if (is(std::type_identity<pqxx::insufficient_resources>())) return "53000";
  if (is(std::type_identity<pqxx::feature_not_supported>())) return "0A000";
  if (is(std::type_identity<pqxx::data_exception>())) return "22000";
  if (is(std::type_identity<pqxx::plpgsql_error>())) return "P0001";
  return "";
}

class PqxxSession final : public Session {
 public:
  PqxxSession(const PostgresOptions& options, const std::string& url)
      : options_(options), connection_(url), socket_(connection_.sock()), notices_(connection_) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    connection_.inhibit_reactivation(true);
#pragma GCC diagnostic pop
    backend_ = connection_.backendpid();
  }

  absl::Status Begin();
  absl::StatusOr<Rows> Run(std::string_view purpose, const std::string& sql, const Params& params) override;
  absl::Status RunScript(std::string_view purpose, const std::string& sql) override;
  absl::Status InTransaction(std::string_view purpose, const std::function<absl::Status(Session&)>& body) override;
  bool broken() const override;
  void Cancel() override;

 private:
  std::chrono::milliseconds Limit() const { return options_.statement_timeout + kGrace; }
  // Runs `call`, turning what libpqxx throws into a status. `commits`: whether a lost connection leaves a commit in doubt.
  template <typename Call>
  absl::Status Guarded(std::string_view purpose, bool commits, const Call& call);
  pqxx::result Execute(pqxx::transaction_base& work, const std::string& sql, const WireParams& params);
  absl::Status Finish(std::string_view purpose, pqxx::work& work, const absl::Status& outcome);
  bool closed() const;

  const PostgresOptions options_;
  pqxx::connection connection_;
  const SocketName socket_;
  Notices notices_;
  int backend_ = 0;
  bool read_only_ = false;                                 // A statement was refused for that.
  std::unordered_map<std::string, std::string> prepared_;  // SQL text to name.
  pqxx::work* work_ = nullptr;                             // Inside InTransaction.
  absl::Status first_failure_;  // Of a statement inside InTransaction: Postgres then answers COMMIT by rolling back.
};

template <typename Call>
absl::Status PqxxSession::Guarded(std::string_view purpose, bool commits, const Call& call) {
  if (!connection_.is_open()) return BrokenError(purpose, false);
  const SocketDeadline deadline(socket_.number(), Limit());
  notices_.TakeInDoubt();                                                                              // Of a statement that failed.
  connection_.set_verbosity(commits ? pqxx::connection_base::verbose : pqxx::connection_base::terse);  // For MayLeaveInDoubt.
  try {
    call();
    if (notices_.TakeInDoubt() && commits) return BrokenError(purpose, true);
    return absl::OkStatus();
  } catch (const pqxx::in_doubt_error&) {
    return BrokenError(purpose, true);
  } catch (const pqxx::statement_completion_unknown&) {
    return SqlError(purpose, "40003", "");
  } catch (const pqxx::deadlock_detected&) {
    return SqlError(purpose, "40P01", "");
  } catch (const pqxx::transaction_rollback&) {
    return SqlError(purpose, "40001", "");
  } catch (const pqxx::too_many_connections&) {
    return SqlError(purpose, "53300", "");
  } catch (const pqxx::broken_connection&) {
    return BrokenError(purpose, commits);
  } catch (const pqxx::sql_error& e) {
    // A polite shutdown ends the transaction before it commits; any other lost connection is in doubt.
    if (!connection_.is_open() && e.sqlstate() != "57P01") return BrokenError(purpose, commits);
    read_only_ = read_only_ || e.sqlstate() == "25006";
    return SqlError(purpose, StateOf(e), e.what());
  } catch (const std::exception& e) {
    if (!connection_.is_open()) return BrokenError(purpose, commits);
    return Internal(fmt::format("{}: the Postgres client failed", purpose));
  }
}

// Settings of the session's own, so that nothing that is reloaded later weakens them. The last four are the server's side of a connection
// that was cut off; a unix socket has none of them.
absl::Status PqxxSession::Begin() {
  if (socket_.number() < 0) return Unavailable("this process has no file descriptors left: raise its limit (ulimit -n, LimitNOFILE)");
  static const std::string kSettings =
      "SELECT set_config('application_name', $1, false), set_config('statement_timeout', $2, false), set_config('lock_timeout', $3, "
      "false), set_config('idle_in_transaction_session_timeout', $4, false), set_config('search_path', $5, false), "
      "set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, "
      "false), "
      "set_config('client_encoding', 'UTF8', false), set_config('DateStyle', 'ISO, YMD', false), set_config('TimeZone', 'UTC', false), "
      "set_config('bytea_output', 'hex', false), set_config('client_min_messages', 'warning', false), "
      "set_config('tcp_keepalives_idle', '30', false), set_config('tcp_keepalives_interval', '10', false), "
      "set_config('tcp_keepalives_count', '3', false), set_config('tcp_user_timeout', '60000', false)";
  const auto idle = options_.idle_timeout.count() > 0 ? options_.idle_timeout : options_.statement_timeout + kIdle;
  const auto ms = [](std::chrono::milliseconds t) { return std::to_string(t.count()); };
  TG_RETURN_IF_ERROR(Guarded("connect", false, [&] {
    pqxx::nontransaction work(connection_);
    work.exec_params(kSettings, options_.application_name, ms(options_.statement_timeout), ms(options_.lock_timeout), ms(idle),
                     options_.search_path);
  }));
  if (options_.role.empty()) return absl::OkStatus();
  return Guarded(fmt::format("take the role {}", options_.role), false, [&] {
    pqxx::nontransaction work(connection_);
    work.exec_params("SELECT set_config('role', $1, false)", options_.role);
  });
}

pqxx::result PqxxSession::Execute(pqxx::transaction_base& work, const std::string& sql, const WireParams& params) {
  std::vector<pqxx::binarystring> binaries;
  binaries.reserve(params.binaries.size());
  for (const std::string* bytes : params.binaries) binaries.emplace_back(*bytes);
  const auto texts = pqxx::prepare::make_dynamic_params(params.texts);
  const auto arguments = pqxx::prepare::make_dynamic_params(binaries);
  auto found = prepared_.find(sql);
  if (found == prepared_.end()) {
    // A caller that makes new texts for ever must not fill the server's memory.
    if (prepared_.size() >= kPreparedMax) return work.exec_params(sql, texts, arguments);
    found = prepared_.emplace(sql, fmt::format("tg{}", prepared_.size())).first;
    connection_.prepare(found->second, sql);
  }
  return work.exec_prepared(found->second, texts, arguments);
}

absl::StatusOr<Rows> PqxxSession::Run(std::string_view purpose, const std::string& sql, const Params& params) {
  const auto wire = ToWire(params);
  if (!wire.ok()) return Annotate(wire.status(), purpose);
  Rows rows;
  const bool alone = work_ == nullptr;
  const absl::Status outcome = Guarded(purpose, alone && !OnlyReads(sql), [&] {
    if (!alone) {
      rows = ReadRows(Execute(*work_, sql, *wire));
      return;
    }
    pqxx::nontransaction work(connection_);
    rows = ReadRows(Execute(work, sql, *wire));
  });
  if (!outcome.ok() && !alone && first_failure_.ok()) first_failure_ = outcome;
  TG_RETURN_IF_ERROR(outcome);
  return rows;
}

absl::Status PqxxSession::RunScript(std::string_view purpose, const std::string& sql) {
  TG_CHECK(work_ == nullptr, "a script runs in a transaction of its own");
  return InTransaction(purpose, [&](Session&) { return Guarded(purpose, false, [&] { work_->exec(sql); }); });
}

absl::Status PqxxSession::InTransaction(std::string_view purpose, const std::function<absl::Status(Session&)>& body) {
  TG_CHECK(work_ == nullptr, "a transaction inside a transaction");
  std::optional<pqxx::work> work;
  TG_RETURN_IF_ERROR(Guarded(purpose, false, [&] { work.emplace(connection_); }));
  work_ = &*work;
  first_failure_ = absl::OkStatus();
  absl::Status outcome = body(*this);
  work_ = nullptr;
  if (outcome.ok()) outcome = first_failure_;
  return Finish(purpose, *work, outcome);
}

absl::Status PqxxSession::Finish(std::string_view purpose, pqxx::work& work, const absl::Status& outcome) {
  // Closed by the server before COMMIT was sent, as after idle_timeout: plainly undone.
  const absl::Status end = outcome.ok() && closed() ? BrokenError(purpose, false) : outcome;
  if (end.ok()) return Guarded(purpose, true, [&] { work.commit(); });
  const absl::Status undone = Guarded(purpose, false, [&] { work.abort(); });
  if (!undone.ok() && connection_.is_open()) Warn("base", "{}", Message(undone));
  return end;
}

bool PqxxSession::broken() const { return read_only_ || closed(); }

bool PqxxSession::closed() const {
  if (!connection_.is_open()) return true;
  // Between statements nothing else can tell that the server has gone away.
  pollfd peer{connection_.sock(), POLLRDHUP, 0};
  return ::poll(&peer, 1, 0) > 0 && (peer.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0;
}

void PqxxSession::Cancel() {
  // Through a session of its own, because libpq's own request to cancel has no deadline. As logged in: a role that this session took later
  // may not cancel what belongs to the login.
  PostgresOptions options = options_;
  options.role.clear();
  options.statement_timeout = std::chrono::milliseconds(1000);
  auto helper = Session::Connect(options);
  absl::Status asked = helper.status();
  if (helper.ok()) asked = (*helper)->Run("cancel a statement", "SELECT pg_cancel_backend($1::int)", {std::int64_t{backend_}}).status();
  if (!asked.ok()) Warn("base", "a statement could not be cancelled: {}", Message(asked));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Session>> Session::Connect(const PostgresOptions& options) {
  std::unique_ptr<PqxxSession> session;
  try {
    session = std::make_unique<PqxxSession>(options, WithLimits(options));
  } catch (const std::exception& e) {
    return ConnectError(e.what());
  }
  TG_RETURN_IF_ERROR(session->Begin());
  return session;
}

}  // namespace tollgate::base
