// Up to the first character that is not its own plain form the two texts are one, so nothing is done twice before it: plain ASCII costs the
// look for that character. A stream then copies its scan, which is what a scan of the plain form would be by now.
//
// A hit of the plain form ends with its last character that is seen; unseen ones behind it stay. While a capped hit goes on, though, they
// are held: if it goes on behind them it covers them too.
//
// Decoded text is judged as a text of its own, exceptions included: that an encoded text holds something allowed says nothing of its rest.
//
// Tested by tests/policy/disguise_test.cpp and tests/policy/stream_property_test.cpp.
#include "policy/disguise.h"

#include <algorithm>
#include <span>

#include "policy/encoded_runs.h"
#include "policy/resolver.h"

namespace tollgate::policy {
namespace {

// What an exception finds there excuses what stands as written too, where it differs by quotation marks alone: those of print are no
// disguise. Of a capped hit each stretch would be asked by itself, and a disguised one is not to be excused by those around it.
std::uint8_t ViewsOf(const Program& program, const PlainText& plain, const Hit& hit) {
  const bool excuses = program.rules()[program.sources()[hit.source].rule].action == Action::kAllow && !hit.continuation;
  return excuses && plain.DiffersByQuotes(hit.begin, hit.end) ? Hit::kBoth : Hit::kPlain;
}

void MapBack(const Program& program, const PlainText& plain, std::size_t first, std::vector<Hit>& hits) {
  std::size_t kept = first;
  for (std::size_t i = first; i < hits.size(); ++i) {
    Hit hit = hits[i];
    if (program.sources()[hit.source].as_written) continue;
    hit.views = ViewsOf(program, plain, hit);
    hit.begin = hit.continuation ? plain.RawEnd(hit.begin) : plain.RawBegin(hit.begin);
    hit.end = plain.RawEnd(hit.end);
    hits[kept++] = hit;
  }
  hits.resize(kept);
}

void Widen(const PlainText& plain, std::span<Hit> written) {
  for (Hit& hit : written) {
    if (!hit.continuation) hit.begin = plain.CharacterBegin(hit.begin);
  }
}

// To `hits`, those of the text as written, what is found beside them; false if its plain form is the text itself.
bool FindPlain(const Program& program, std::string_view text, const Program::Selection& selection, std::vector<Hit>& hits, Effort* effort) {
  Behind behind;
  const std::size_t disguised = FirstDisguised(text, behind, false);
  if (disguised == text.size()) return false;
  PlainText plain(static_cast<std::int64_t>(disguised), behind);
  std::string seen(text.substr(0, disguised));
  seen += plain.Append(text.substr(disguised));
  Widen(plain, hits);
  const std::size_t first = hits.size();
  const std::vector<Hit> more = program.FindAll(seen, selection, effort);
  hits.insert(hits.end(), more.begin(), more.end());
  MapBack(program, plain, first, hits);
  return true;
}

}  // namespace

std::vector<Hit> FindEverywhere(const Program& program, std::string_view text, const Program::Selection& selection, Effort* effort,
                                int depth) {
  std::vector<Hit> hits = program.FindAll(text, selection, effort);
  const bool disguised = selection.plain && FindPlain(program, text, selection, hits, effort);
  const std::size_t seen = hits.size();
  if (selection.decoded && depth > 0) {
    std::vector<EncodedWord> words;
    WordCutter().Read(text, true, words);
    for (const EncodedWord& word : words) {
      if (!Hold(effort, hits.size())) break;
      const auto begin = static_cast<std::size_t>(word.begin), end = static_cast<std::size_t>(word.end);
      FindDecoded(program, text.substr(begin, end - begin), word.begin, selection, depth, hits, effort);
    }
  }
  if (disguised || hits.size() > seen) program.Finish(hits);
  return hits;
}

void FindDecoded(const Program& program, std::string_view word, std::int64_t at, const Program::Selection& selection, int depth,
                 std::vector<Hit>& found, Effort* effort) {
  const std::size_t first = found.size();
  ForEachDecoded(word, [&](const Decoded& decoded) {
    const std::int64_t begin = at + static_cast<std::int64_t>(decoded.begin), end = at + static_cast<std::int64_t>(decoded.end);
    if (IsOver(effort)) return;
    Exceptions exceptions(program.rules());
    const std::vector<Hit> hits = FindEverywhere(program, decoded.text, selection, effort, depth - 1);
    std::size_t noted = 0;
    for (const Hit& hit : hits) {
      while (noted < hits.size() && hits[noted].begin <= hit.begin) exceptions.Note(hits[noted++]);
      const Program::Source& source = program.sources()[hit.source];
      const bool is_exception = program.rules()[hit.rule].action == Action::kAllow;
      if (!source.decoded || is_exception || hit.continuation || exceptions.Cover(hit)) continue;
      const Hit run{begin, end, hit.rule, hit.source, false, Hit::kDecoded, hit.bits_thousandths};
      const auto known = std::find_if(found.begin() + static_cast<std::ptrdiff_t>(first), found.end(),
                                      [&](const Hit& f) { return f.source == run.source && f.begin == run.begin && f.end == run.end; });
      if (known == found.end())
        found.push_back(run);
      else
        known->bits_thousandths = std::max(known->bits_thousandths, run.bits_thousandths);
    }
  });
}

std::int64_t PlainScan::Read(const Program& program, std::string_view piece, bool at_end, std::int64_t written, std::size_t first,
                             std::vector<Hit>& found) {
  const std::size_t plain = found.size();
  std::int64_t live = scan_.Read(plain_.Append(piece, !at_end), at_end, found);
  MapBack(program, plain_, plain, found);
  Widen(plain_, std::span(found).subspan(first, plain - first));
  written = plain_.CharacterBegin(written);
  plain_.Forget(scan_.base(), written);
  live = live < plain_.plain_end() || (scan_.swallowing() && !at_end) ? plain_.RawBegin(live) : plain_.raw_end();
  return std::min(live, written);
}

}  // namespace tollgate::policy
