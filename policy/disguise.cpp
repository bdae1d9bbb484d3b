// Up to the first character that is not its own plain form the two texts are one, so nothing is done twice before it: plain ASCII costs the
// look for that character. A stream then copies its scan, which is what a scan of the plain form would be by now.
//
// A hit of the plain form ends with its last character that is seen; unseen ones behind it stay. While a capped hit goes on, though, they are
// held: if it goes on behind them it covers them too.
//
// Tested by tests/policy/disguise_test.cpp and tests/policy/stream_property_test.cpp.
#include "policy/disguise.h"

#include <algorithm>

namespace tollgate::policy {
namespace {

void MapBack(const Program& program, const PlainText& plain, std::size_t first, std::vector<Hit>& hits) {
  std::size_t kept = first;
  for (std::size_t i = first; i < hits.size(); ++i) {
    Hit hit = hits[i];
    if (program.sources()[hit.source].as_written) continue;
    hit.begin = hit.continuation ? plain.RawEnd(hit.begin) : plain.RawBegin(hit.begin);
    hit.end = plain.RawEnd(hit.end);
    hit.views = Hit::kPlain;
    hits[kept++] = hit;
  }
  hits.resize(kept);
}

}  // namespace

std::vector<Hit> FindEverywhere(const Program& program, std::string_view text, const Program::Selection& selection) {
  std::vector<Hit> hits = program.FindAll(text, selection);
  if (!selection.plain) return hits;
  const std::size_t disguised = FirstDisguised(text);
  if (disguised == text.size()) return hits;
  PlainText plain(static_cast<std::int64_t>(disguised), disguised == 0 ? ' ' : text[disguised - 1]);
  std::string seen(text.substr(0, disguised));
  seen += plain.Append(text.substr(disguised));
  const std::size_t first = hits.size();
  const std::vector<Hit> more = program.FindAll(seen, selection);
  hits.insert(hits.end(), more.begin(), more.end());
  MapBack(program, plain, first, hits);
  program.Finish(hits);
  return hits;
}

std::int64_t PlainScan::Read(const Program& program, std::string_view piece, bool at_end, std::vector<Hit>& found) {
  const std::size_t first = found.size();
  const std::int64_t live = scan_.Read(plain_.Append(piece), at_end, found);
  MapBack(program, plain_, first, found);
  plain_.Forget(scan_.base());
  if (live < plain_.plain_end() || (scan_.swallowing() && !at_end)) return plain_.RawBegin(live);
  return plain_.raw_end();
}

}  // namespace tollgate::policy
