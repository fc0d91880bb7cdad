package rules

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// prop is a clause's expression as a tree of and, or, not, ?:, all and exists.
// CEL evaluates the leaves; the tree above them is ours, so that a clause that
// is true knows which of its parts made it so.
type prop struct {
	op   propOp
	kids []*prop // of and, or, not, cond: as written; of all, exists: the body
	leaf *leaf   // of a leaf: the expression; of all, exists: the list
	name string  // of all, exists: the variable
}

type propOp uint8

const (
	opLeaf propOp = iota
	opAnd
	opOr
	opNot
	opCond
	opAll
	opExists
)

// leaf is an expression that CEL evaluates as a whole.
type leaf struct {
	program  cel.Program
	evidence bool // it asks for facts with a function that is no guard
}

// prop compiles a clause's expression, nil when there are mistakes.
func (c *compiler) prop(s snippet) *prop {
	tree := c.compile(s, cel.BoolType)
	if tree == nil {
		return nil
	}
	p, err := c.plan(tree, tree.Expr())
	if err != nil {
		s.mistake(1, 0, "%v", err)
		return nil
	}
	return p
}

func (c *compiler) plan(tree *ast.AST, e ast.Expr) (*prop, error) {
	op, kids := opLeaf, []ast.Expr(nil)
	switch callName(e) {
	case operators.LogicalAnd:
		op, kids = opAnd, e.AsCall().Args()
	case operators.LogicalOr:
		op, kids = opOr, e.AsCall().Args()
	case operators.LogicalNot:
		op, kids = opNot, e.AsCall().Args()
	case operators.Conditional:
		op, kids = opCond, e.AsCall().Args()
	}
	p := &prop{op: op}
	if e.Kind() == ast.ComprehensionKind {
		if op, body := quantifier(e.AsComprehension()); op != opLeaf {
			p.op, kids, p.name = op, []ast.Expr{body}, e.AsComprehension().IterVar()
			e = e.AsComprehension().IterRange()
		}
	}
	var err error
	if p.op == opLeaf || p.op == opAll || p.op == opExists {
		if p.leaf, err = c.leaf(tree, e); err != nil {
			return nil, err
		}
	}
	for _, k := range kids {
		kid, err := c.plan(tree, k)
		if err != nil {
			return nil, err
		}
		p.kids = append(p.kids, kid)
	}
	return p, nil
}

// quantifier recognises what the macros all and exists expand to.
func quantifier(x ast.ComprehensionExpr) (propOp, ast.Expr) {
	if x.AccuInit().Kind() != ast.LiteralKind || x.HasIterVar2() {
		return opLeaf, nil
	}
	step := x.LoopStep()
	switch init := x.AccuInit().AsLiteral(); {
	case init == types.True && callName(step) == operators.LogicalAnd:
		return opAll, step.AsCall().Args()[1]
	case init == types.False && callName(step) == operators.LogicalOr:
		return opExists, step.AsCall().Args()[1]
	}
	return opLeaf, nil
}

// leaf compiles the part of tree below e.
func (c *compiler) leaf(tree *ast.AST, e ast.Expr) (*leaf, error) {
	part := ast.NewCheckedAST(ast.NewAST(e, tree.SourceInfo()), tree.TypeMap(), tree.ReferenceMap())
	program, err := c.env.PlanProgram(part, cel.CostLimit(maxLeafCost))
	if err != nil {
		return nil, err
	}
	l := &leaf{program: program}
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		if _, evidence := factFunction(callName(e)); evidence {
			l.evidence = true
		}
	}))
	return l, nil
}

// carries reports whether p, being want, always rests on facts that can be
// evidence.
func (p *prop) carries(want bool) bool {
	switch p.op {
	case opNot:
		return p.kids[0].carries(!want)
	case opAnd:
		return p.split(want, want)
	case opOr:
		return p.split(want, !want)
	case opCond:
		c, t, f := p.kids[0], p.kids[1], p.kids[2]
		return (c.carries(true) || t.carries(want)) && (c.carries(false) || f.carries(want))
	case opAll, opExists:
		return p.leaf.evidence || p.kids[0].carries(want)
	}
	return p.leaf.evidence
}

// split reports whether one of two parts carries when both must have the
// wanted value, or each of them when one is enough.
func (p *prop) split(want, both bool) bool {
	a, b := p.kids[0].carries(want), p.kids[1].carries(want)
	if both {
		return a || b
	}
	return a && b
}
