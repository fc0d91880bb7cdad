package rules

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"

	"forensics/analyzers"
)

// Bounds on one expression.
const (
	maxExprSize = 8192    // characters
	maxLeafCost = 100_000 // CEL cost units of one leaf
	maxSep      = 16      // characters that join may put between two strings
)

// The functions over facts. hasAny is what has with one argument is read as:
// CEL keeps has(x) for itself.
const (
	fnLast   = "last"
	fnFirst  = "first"
	fnValues = "values"
	fnQuote  = "quote"
	fnNames  = "subjects"
	fnIs     = "is"
	fnHas    = "has"
	fnHasAny = "@has"
	fnLacks  = "lacks"
	fnCount  = "count"
)

// anySubject is what an expression may write for a subject to mean any.
const anySubject = "*"

// compiler checks and compiles the expressions of packs.
type compiler struct {
	env       *cel.Env
	types     map[string]*analyzers.FactType
	factNames []string
	params    []string // as expressions write them
}

func newCompiler(facts []analyzers.FactType, params []string) (*compiler, error) {
	c := &compiler{types: map[string]*analyzers.FactType{}}
	for i := range facts {
		c.types[facts[i].Name] = &facts[i]
	}
	c.factNames = slices.Sorted(maps.Keys(c.types))
	for _, p := range params {
		c.params = append(c.params, identifier(p))
	}
	var err error
	c.env, err = cel.NewCustomEnv(languageOptions()...)
	return c, err
}

// identifier is the name of a parameter in expressions.
func identifier(param string) string { return strings.ReplaceAll(param, "-", "_") }

func languageOptions() []cel.EnvOption {
	str, text := cel.StringType, cel.ListType(cel.StringType)
	function := func(name string, result *cel.Type, arities ...int) cel.EnvOption {
		var overloads []cel.FunctionOpt
		for _, n := range arities {
			overloads = append(overloads, cel.Overload(fmt.Sprintf("fact_%s_%d", strings.TrimPrefix(name, "@"), n),
				slices.Repeat([]*cel.Type{str}, n), result, cel.LateFunctionBinding()))
		}
		return cel.Function(name, overloads...)
	}
	hasAny := cel.GlobalMacro(fnHas, 1, func(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
		return f.NewCall(fnHasAny, args...), nil
	})
	return []cel.EnvOption{
		cel.StdLib(cel.StdLibSubset(env.NewLibrarySubset().SetDisableMacros(true))),
		cel.Macros(cel.AllMacro, cel.ExistsMacro, cel.ExistsOneMacro, cel.MapMacro, cel.FilterMacro, hasAny),
		ext.Strings(),
		cel.Variable("param", cel.MapType(str, str)),
		cel.Variable("params", cel.MapType(str, text)),
		function(fnLast, str, 1, 2),
		function(fnFirst, str, 1, 2),
		function(fnValues, text, 1, 2),
		function(fnQuote, str, 1, 2),
		function(fnNames, text, 1),
		function(fnIs, cel.BoolType, 3),
		function(fnHasAny, cel.BoolType, 1),
		function(fnHas, cel.BoolType, 2, 3),
		function(fnLacks, cel.BoolType, 1, 2, 3),
		function(fnCount, cel.IntType, 1, 2),
		cel.ParserExpressionSizeLimit(maxExprSize),
		cel.ParserRecursionLimit(100),
		cel.ExpressionNodeLimit(maxExprSize),
	}
}

// allowed reports whether an expression may call function name. What is left
// out reads time zones from disk, or makes much text of little.
func allowed(name string) bool {
	switch name {
	case operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.Conditional, operators.NotStrictlyFalse,
		operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals,
		operators.Add, operators.Subtract, operators.Multiply, operators.Divide, operators.Modulo, operators.Negate,
		operators.In, operators.Index,
		"size", "startsWith", "endsWith", "contains", "matches", "int", "double", "string",
		"charAt", "indexOf", "lastIndexOf", "lowerAscii", "upperAscii", "substring", "trim", "split", "join", "replace",
		fnLast, fnFirst, fnValues, fnQuote, fnNames, fnIs, fnHas, fnHasAny, fnLacks, fnCount:
		return true
	}
	return false
}

// factFunction reports whether name is a function over facts, and whether what
// it returns can be evidence.
func factFunction(name string) (ok, evidence bool) {
	switch name {
	case fnLast, fnFirst, fnValues, fnQuote, fnNames, fnIs, fnHas, fnHasAny:
		return true, true
	case fnLacks, fnCount:
		return true, false
	}
	return false, false
}

// snippet is an expression within a scalar.
type snippet struct {
	text   string
	in     *scalar
	offset int // in runes, within in.value
}

// mistake reports text at a place of the expression, given as CEL does: line
// from 1, column from 0, in runes.
func (s snippet) mistake(line, column int, format string, args ...any) {
	offset := 0
	rest := s.text
	for ; line > 1; line-- {
		i := strings.IndexByte(rest, '\n')
		if i < 0 {
			break
		}
		offset += utf8.RuneCountInString(rest[:i+1])
		rest = rest[i+1:]
	}
	offset += max(0, column)
	s.in.doc.mistakeAt(s.in.at(s.offset+s.name(offset)), format, args...)
}

// name moves offset from the parenthesis of a call, where CEL sees it, to its
// name.
func (s snippet) name(offset int) int {
	runes := []rune(s.text)
	if offset >= len(runes) || runes[offset] != '(' {
		return offset
	}
	i := offset
	for i > 0 && (runes[i-1] == '_' || runes[i-1] >= '0' && runes[i-1] <= '9' || runes[i-1]|0x20 >= 'a' && runes[i-1]|0x20 <= 'z') {
		i--
	}
	return i
}

// compile parses and checks an expression of the wanted type, nil when there
// are mistakes.
func (c *compiler) compile(s snippet, want *cel.Type) *ast.AST {
	checked, issues := c.env.Compile(s.text)
	if issues.Err() != nil {
		for _, e := range issues.Errors() {
			s.mistake(e.Location.Line(), e.Location.Column(), "%s", c.plainly(e.Message))
		}
		return nil
	}
	if t := checked.OutputType(); !t.IsExactType(want) {
		s.mistake(1, 0, "the expression must be of type %s, not %s", want, t)
		return nil
	}
	before := len(s.in.doc.mistakes)
	k := &check{compiler: c, snippet: s, tree: checked.NativeRep()}
	k.walk(k.tree.Expr(), nil)
	if len(s.in.doc.mistakes) > before {
		return nil
	}
	return checked.NativeRep()
}

// plainly rewords CEL's messages.
func (c *compiler) plainly(message string) string {
	message = strings.ReplaceAll(message, "'"+fnHasAny+"'", "'"+fnHas+"'")
	if i := strings.Index(message, " expecting {"); i > 0 {
		message = message[:i]
	}
	return message
}

// check looks for what type checking does not see.
type check struct {
	*compiler
	snippet snippet
	tree    *ast.AST
}

func (k *check) mistake(e ast.Expr, format string, args ...any) {
	for e.Kind() == ast.SelectKind { // CEL sees it at the dot
		e = e.AsSelect().Operand()
	}
	l := k.tree.SourceInfo().GetStartLocation(e.ID())
	k.snippet.mistake(l.Line(), l.Column(), format, args...)
}

// walk checks e; bound are the variables of the macros around it.
func (k *check) walk(e ast.Expr, bound []string) {
	switch e.Kind() {
	case ast.IdentKind:
		if name := e.AsIdent(); isParams(name) && !slices.Contains(bound, name) {
			k.mistake(e, "%s must be followed by a dot and the name of a parameter", name)
		}
	case ast.SelectKind:
		if k.param(e.AsSelect().Operand(), e.AsSelect().FieldName(), bound) {
			return
		}
		k.walk(e.AsSelect().Operand(), bound)
	case ast.CallKind:
		k.call(e, bound)
	case ast.ListKind:
		for _, x := range e.AsList().Elements() {
			k.walk(x, bound)
		}
	case ast.ComprehensionKind:
		x := e.AsComprehension()
		k.walk(x.IterRange(), bound)
		k.walk(x.AccuInit(), bound)
		bound = append(slices.Clip(bound), x.IterVar(), x.AccuVar())
		k.walk(x.LoopStep(), bound)
		k.walk(x.Result(), bound)
	case ast.MapKind, ast.StructKind:
		k.mistake(e, "maps and messages are not part of the rule language")
	}
}

func isParams(name string) bool { return name == "param" || name == "params" }

// param checks the name of a parameter; false when operand is something else.
func (k *check) param(operand ast.Expr, name string, bound []string) bool {
	if operand.Kind() != ast.IdentKind || !isParams(operand.AsIdent()) || slices.Contains(bound, operand.AsIdent()) {
		return false
	}
	if !slices.Contains(k.params, identifier(name)) {
		k.mistake(operand, "unknown parameter %q%s", name, didYouMean(identifier(name), k.params))
	}
	return true
}

func (k *check) call(e ast.Expr, bound []string) {
	call := e.AsCall()
	name, args := call.FunctionName(), call.Args()
	if !allowed(name) {
		k.mistake(e, "%s is not part of the rule language", name)
		return
	}
	if name == operators.Index {
		if key, ok := literal(args[1]); ok && k.param(args[0], key, bound) {
			return
		}
	}
	if ok, _ := factFunction(name); ok {
		k.factCall(e)
	}
	if call.IsMemberFunction() {
		k.walk(call.Target(), bound)
		args = append([]ast.Expr{call.Target()}, args...)
	}
	switch name {
	case operators.LogicalNot:
		if n := callName(args[0]); n == fnHas || n == fnHasAny {
			k.mistake(e, "has is never false: absence is not evidence; to say that no artifact states it, use lacks")
		}
	case operators.Equals, operators.NotEquals:
		k.compared(args[0], args[1])
		k.compared(args[1], args[0])
	case operators.In:
		k.member(args[0], args[1])
	case "matches":
		k.pattern(args[1])
	case "join", "replace":
		k.bounded(e, name, args)
	}
	for _, a := range call.Args() {
		k.walk(a, bound)
	}
}

// literal returns the text of a string literal.
func literal(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

func callName(e ast.Expr) string {
	if e.Kind() != ast.CallKind {
		return ""
	}
	return e.AsCall().FunctionName()
}

// factCall checks the name, subject and value of a fact.
func (k *check) factCall(e ast.Expr) {
	call := e.AsCall()
	name, args := call.FunctionName(), call.Args()
	fact, ok := literal(args[0])
	if !ok {
		k.mistake(args[0], "the name of the fact must be written out")
		return
	}
	t := k.types[fact]
	if t == nil {
		k.mistake(args[0], "no analyzer states a fact %q%s", fact, didYouMean(fact, k.factNames))
		return
	}
	switch {
	case name == fnNames && t.Subject == "":
		k.mistake(args[0], "%s has no subject", fact)
	case len(args) == 1 && t.Subject != "" && ofOne(name):
		k.mistake(e, "%s has a subject (%s): write %s(%q, …)", fact, t.Subject, name, fact)
	case len(args) > 1:
		k.subject(name, t, args[1])
	}
	if len(args) == 3 {
		k.value(t, args[2])
	}
}

// ofOne reports whether the function asks for the value of one subject.
func ofOne(name string) bool {
	switch name {
	case fnLast, fnFirst, fnQuote, fnIs:
		return true
	}
	return false
}

func (k *check) subject(name string, t *analyzers.FactType, e ast.Expr) {
	s, ok := literal(e)
	switch {
	case ok && s == anySubject && ofOne(name):
		k.mistake(e, "%s asks about one subject (%s)", name, t.Subject)
	case t.Subject == "" && (!ok || s != ""):
		k.mistake(e, `%s has no subject: leave it out, or write ""`, t.Name)
	case t.Subject != "" && ok && s == "":
		k.mistake(e, "%s has a subject (%s)", t.Name, t.Subject)
	}
}

// value checks a literal against the values that a fact may have.
func (k *check) value(t *analyzers.FactType, e ast.Expr) {
	if v, ok := literal(e); ok && t.Values != nil && !slices.Contains(t.Values, v) {
		k.mistake(e, "%s is never %q, only %s%s", t.Name, v, strings.Join(t.Values, ", "), didYouMean(v, t.Values))
	}
}

// stated returns the type of the fact whose value e is.
func (k *check) stated(e ast.Expr, functions ...string) *analyzers.FactType {
	if !slices.Contains(functions, callName(e)) {
		return nil
	}
	name, _ := literal(e.AsCall().Args()[0])
	return k.types[name]
}

func (k *check) compared(fact, other ast.Expr) {
	if t := k.stated(fact, fnLast, fnFirst); t != nil {
		k.value(t, other)
	}
}

func (k *check) member(item, list ast.Expr) {
	if t := k.stated(list, fnValues); t != nil {
		k.value(t, item)
	}
	if t := k.stated(item, fnLast, fnFirst); t != nil && list.Kind() == ast.ListKind {
		for _, x := range list.AsList().Elements() {
			k.value(t, x)
		}
	}
}

// pattern checks that a regular expression is written out and compiles.
func (k *check) pattern(e ast.Expr) {
	p, ok := literal(e)
	if !ok {
		k.mistake(e, "the pattern must be written out")
		return
	}
	if _, err := regexp.Compile(p); err != nil {
		k.mistake(e, "%v", err)
	}
}

// bounded refuses calls that could make much text of little.
func (k *check) bounded(e ast.Expr, name string, args []ast.Expr) {
	switch name {
	case "join":
		if len(args) == 1 {
			return
		}
		if sep, ok := literal(args[1]); !ok || utf8.RuneCountInString(sep) > maxSep {
			k.mistake(e, "join needs a separator that is written out, of at most %d characters", maxSep)
		}
	case "replace":
		from, ok1 := literal(args[1])
		to, ok2 := literal(args[2])
		if !ok1 || !ok2 || len(to) > len(from) {
			k.mistake(e, "replace needs both texts written out, the new one no longer than the old")
		}
	}
}
