"""What a preview by type costs: milliseconds per MiB of ordinary content, for each type that has a handler.

    python bench/previews.py [type ...]

The handlers run in this process, over content of 64 KiB and of 512 KiB, the longest that is ever outlined
(SPEC 2.8), with the budget that is the default. The content is a small part repeated, each time with another number
in it; a type's time is the best of three.
"""

from __future__ import annotations

import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from plurnk.content.previews import PreviewHandler

BUDGET_CHARS: Final = 256
SIZES_BYTES: Final = (64 * 1024, 512 * 1024)
ROUNDS: Final = 3

# What stands before the first part.
HEADS: Final = {
    "text/x-php": "<?php\n",
    "application/json": "[\n",
    "application/xml": "<list>\n",
    "text/csv": "id,name\n",
}

# `§` is the number of the part.
PARTS_TEXT: Final = r"""
@@@ application/json
{"id": §, "name": "name of §", "tags": ["a", "b"], "owner": {"id": 1, "mail": null}},
@@@ application/jsonl
{"id": §, "name": "name of §", "tags": ["a", "b"], "owner": {"id": 1, "mail": null}}
@@@ application/sql
CREATE TABLE t§ (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL
);
INSERT INTO t§ VALUES (1, 'a');
@@@ application/toml
[tool.part§]
name = "part"
sizes = [1, 2, 3]
inner = { a = 1, b = "two" }

@@@ application/typescript
export interface Item§ { id: number; name: string }
export function work§(first: number, limit: number): number {
    if (first > limit + §) {
      console.log(`item ${first} of ${limit}`);
      return first * 2;
    }
    for (const [name, value] of Object.entries(table)) {
      first += value.map((x) => x * 2).filter(Boolean).length;
    }
    return first;
}

@@@ text/html
<section id="part-§"><h2>Part §</h2>
<p class="lead">Some <b>text</b> with a <a href="/page/§">link</a> and more of it, as pages have.</p>
<ul><li><span>one</span></li><li><span>two</span></li><li><span>three</span></li></ul></section>
@@@ application/xml
<item id="§"><name>name of §</name><price unit="eur">12.50</price></item>
@@@ application/yaml
part§:
  name: the name of §
  steps:
    - run: make all
      with: {a: 1}
    - run: |
        some text
        of two lines
  enabled: true
@@@ text/csv
§,"name, of §",12.50,2024-01-01,some more text
@@@ text/javascript
export function work§(first, limit) {
    if (first > limit + §) {
      console.log(`item ${first} of ${limit}`);
      return first * 2;
    }
    for (const [name, value] of Object.entries(table)) {
      first += value.map((x) => x * 2).filter(Boolean).length;
    }
    return first;
}

@@@ text/markdown
## Part §

Some *text* of a paragraph, with `code` and a [link](http://x.y).

- one
- two

```python
# no heading
x = 1
```

@@@ text/tab-separated-values
§	name of §	12.50	2024-01-01	some more text
@@@ text/tsx
export const Part§: FC<Props> = ({ items }) => {
  const [open, setOpen] = useState(false);
  return (
    <ul className="list">{items.map((item) => <li key={item.id}>{item.name}</li>)}</ul>
  );
};

@@@ text/x-c
static int work§(int first, const char *limit)
{
        if (first > limit + §) {
            log(String.format("item %d of %d", first, limit));
            return first * 2;
        }
        for (int i = 0; i < limit; i++) {
            first += table[i] * other(i, "text", limit - 1);
        }
        return first;
}

@@@ text/x-c++
template <typename T>
class Part§ : public Base<T> {
 public:
    int work(int first, T &limit) const {
        if (first > limit + §) {
            log(String.format("item %d of %d", first, limit));
            return first * 2;
        }
        for (int i = 0; i < limit; i++) {
            first += table[i] * other(i, "text", limit - 1);
        }
        return first;
    }
};

@@@ text/x-csharp
public class Part§ : Base {
    public int Work(int first, int limit) {
        if (first > limit + §) {
            log(String.format("item %d of %d", first, limit));
            return first * 2;
        }
        for (int i = 0; i < limit; i++) {
            first += table[i] * other(i, "text", limit - 1);
        }
        return first;
    }
}

@@@ text/x-diff
diff --git a/part§ b/part§
--- a/part§
+++ b/part§
@@ -1,3 +1,3 @@
 context
-old line
+new line
@@@ text/x-go
func (p *Part) Work§(first int, limit string) (int, error) {
	if first > len(limit) {
		return 0, fmt.Errorf("item %d of %s", first, limit)
	}
	for i, x := range p.items {
		first += x.Size(i) * 2
	}
	return first, nil
}

@@@ text/x-ini
[part§]
name = the name of §
; a remark
path=/some/where

@@@ text/x-java
class Part§ extends Base {
    public int work(int first, int limit) throws E {
        if (first > limit + §) {
            log(String.format("item %d of %d", first, limit));
            return first * 2;
        }
        for (int i = 0; i < limit; i++) {
            first += table[i] * other(i, "text", limit - 1);
        }
        return first;
    }
}

@@@ text/x-kotlin
class Part§(val limit: Int) : Base() {
    fun work(first: Int, items: List<Int>): Int {
        if (first > limit) {
            println("item $first of ${limit}")
            return first * 2
        }
        return items.filter { it > 1 }.map { x -> x * 2 }.sum()
    }
}

@@@ text/x-lua
function M.work§(first, limit)
  if first > limit then
    print('item ' .. first .. ' of ' .. limit)
    return first * 2
  end
  for i, x in ipairs(M.items) do
    first = first + x.size * i
  end
  return first
end

@@@ text/x-perl
sub work§ {
    my ($first, $limit) = @_;
    return $first * 2 if $first > $limit;
    for my $x (@items) {
        $first += $x->{size};
    }
    return $first;
}

@@@ text/x-php
class Part§ extends Base {
    public function work(int $first, int $limit): int {
        if ($first > $limit + §) {
            log(sprintf("item %d of %d", $first, $limit));
            return $first * 2;
        }
        for ($i = 0; $i < $limit; $i++) {
            $first += $table[$i] * other($i, "text", $limit - 1);
        }
        return $first;
    }
}

@@@ text/x-python
class Part§(Base):
    '''What part § is.'''

    def work(self, first: int, *, limit: str = '') -> int:
        if first > len(limit) + §:
            log.info('item %d of %s', first, limit)
            return first * 2
        for name, value in self.table.items():
            first += sum(x * 2 for x in value if x)
        return first


@@@ text/x-ruby
class Part§ < Base
  attr_reader :items

  def work(first, limit = 1)
    if first > limit
      puts "item #{first} of #{limit}"
      return first * 2
    end
    items.select { |x| x > 1 }.map { |x| x * 2 }.sum
  end
end

@@@ text/x-rust
impl Part§ {
    pub fn work(&self, first: u32, limit: &str) -> Result<u32, Error> {
        if first > limit.len() {
            println!("item {} of {}", first, limit);
            return Err(Error::Odd(first * 2));
        }
        Ok(self.items.iter().filter(|x| **x > 1).map(|x| x * 2).sum())
    }
}

@@@ text/x-scala
class Part§(limit: Int) extends Base {
  def work(first: Int, items: List[Int]): Int = {
    if (first > limit) {
      println(s"item $first of $limit")
    }
    items.filter(_ > 1).map(x => x * 2).sum
  }
}

@@@ text/x-shellscript
work_§() {
  local first=$1 limit="${2:-10}"
  if [ "$first" -gt "$limit" ]; then
    echo "item $first of $limit" >&2
    return 1
  fi
  for x in a b c; do
    grep -q "$x" "$file" | sort | uniq -c || exit 2
  done
}

@@@ text/x-swift
class Part§: Base {
    func work(_ first: Int, limit: Int) -> Int {
        if first > limit {
            print("item \(first) of \(limit)")
            return first * 2
        }
        return items.filter { $0 > 1 }.map { x in x * 2 }.reduce(0, +)
    }
}

@@@ text/x-tex
\section{Part §}
Some text of a paragraph, with $x^2$ and \emph{more} of it.
\subsection{Inner}
\begin{itemize}
\item one
\end{itemize}

"""
PARTS: Final = {
    mimetype: part for mimetype, _, part in (section.partition("\n") for section in PARTS_TEXT.split("\n@@@ ")[1:])
}


def content(mimetype: str, size_bytes: int) -> str:
    """Whole parts, so that nothing is broken."""
    part, text = f"{PARTS[mimetype]}\n", HEADS.get(mimetype, "")
    text += "".join(part.replace("§", str(number)) for number in range(size_bytes // len(part.encode())))
    if mimetype == "application/json":
        return text.rstrip(",\n") + "\n]\n"
    return text + "</list>\n" if mimetype == "application/xml" else text


def ms_per_mib(handler: PreviewHandler, text: str) -> float:
    best_s = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        handler.preview(text, BUDGET_CHARS)
        best_s = min(best_s, time.perf_counter() - started)
    return best_s * 1000 * 1024 * 1024 / len(text.encode())


def main() -> None:
    print(f"{'ms per MiB, at':<28}" + "".join(f"{size // 1024:>6} KiB" for size in SIZES_BYTES))
    for point in sorted(metadata.entry_points(group="plurnk.mimetypes"), key=lambda point: point.name):
        if point.name in PARTS and (not sys.argv[1:] or point.name in sys.argv[1:]):
            handler: PreviewHandler = point.load()
            times = [ms_per_mib(handler, content(point.name, size)) for size in SIZES_BYTES]
            print(f"{point.name:<28}" + "".join(f"{time_ms:>10.0f}" for time_ms in times))


if __name__ == "__main__":
    main()
